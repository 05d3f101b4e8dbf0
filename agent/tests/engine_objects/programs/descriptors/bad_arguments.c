/* Bad pointers and lengths are errors, as at home. */
#include "program.h"
#include <sys/epoll.h>

int main(void) {
    void *volatile nowhere = (void *)8, *volatile top = (void *)(uintptr_t)-4096;
    int fd = open("file", O_RDWR | O_CREAT, 0600), queue[2];
    CHECK(fd >= 0 && pipe(queue) == 0 && write(queue[1], "abc", 3) == 3);
    do {
        struct iovec parts[2] = {{"abc", 3}, {nowhere, (size_t)SSIZE_MAX + 1}};
        CHECK(writev(fd, parts, 2) == -1 && errno == EINVAL);
        parts[1].iov_len = 3;
        CHECK(pwritev(fd, parts, 2, 0) == 3 || errno == EFAULT);
        CHECK(write(fd, nowhere, 1) == -1 && errno == EFAULT);
        CHECK(pwrite(fd, top, 1, 0) == -1 && errno == EFAULT);
        CHECK(open(nowhere, O_RDONLY) == -1 && errno == EFAULT);
        CHECK(stat("file", nowhere) == -1 && errno == EFAULT && pipe(nowhere) == -1 && errno == EFAULT);
        CHECK(read(queue[0], nowhere, 0) == 0 && write(fd, nowhere, 0) == 0);
        CHECK(epoll_wait(fd, (void *)parts, 1, 0) == -1 && errno == EINVAL);
        char path[PATH_MAX + 10];
        memset(path, 'x', sizeof path);
        path[sizeof path - 1] = 0;
        CHECK(open(path, O_RDONLY) == -1 && errno == ENAMETOOLONG);
        CHECK(open("", O_RDONLY) == -1 && errno == ENOENT);
    } while (!gate_is_open());
    return well();
}
