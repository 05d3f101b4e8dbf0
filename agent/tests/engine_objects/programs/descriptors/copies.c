/* Copies of a descriptor share offset and flags, and have their own close-on-exec. */
#include "program.h"
int main(void) {
    make_file("file", "0123456789");
    do {
        int fd = open("file", O_RDWR | O_CLOEXEC);
        CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
        int copy = dup(fd);
        CHECK(copy >= 0 && fcntl(copy, F_GETFD) == 0);
        CHECK(lseek(fd, 5, SEEK_SET) == 5 && lseek(copy, 0, SEEK_CUR) == 5);
        CHECK(fcntl(copy, F_SETFL, O_APPEND) == 0 && (fcntl(fd, F_GETFL) & O_APPEND));
        CHECK(fcntl(copy, F_SETFL, 0) == 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR);
        CHECK(dup2(fd, 100) == 100 && dup2(fd, fd) == fd && dup3(fd, fd, 0) == -1 && errno == EINVAL);
        CHECK(dup3(fd, 101, O_CLOEXEC) == 101 && fcntl(101, F_GETFD) == FD_CLOEXEC);
        CHECK(fcntl(fd, F_DUPFD, 200) == 200 && fcntl(fd, F_DUPFD, 200) == 201);
        CHECK(fcntl(fd, F_DUPFD_CLOEXEC, 200) == 202 && fcntl(202, F_GETFD) == FD_CLOEXEC);
        CHECK(close(fd) == 0);
        char one;
        CHECK(read(202, &one, 1) == 1 && one == '5' && read(100, &one, 1) == 1 && one == '6');
        CHECK(close(copy) == 0 && close(100) == 0 && close(101) == 0);
        CHECK(close(200) == 0 && close(201) == 0 && close(202) == 0);
        CHECK(dup(100) == -1 && errno == EBADF && dup2(100, 5) == -1 && errno == EBADF);
    } while (!gate_is_open());
    return well();
}
