/* Reads and writes at positions leave the offset alone, seeks move it. */
#include "program.h"
int main(void) {
    int fd = open("file", O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0);
    do {
        CHECK(lseek(fd, 0, SEEK_SET) == 0 && write(fd, "0123456789", 10) == 10);
        char one;
        for (int i = 9; i >= 0; i--)
            CHECK(pread(fd, &one, 1, i) == 1 && one == '0' + i);
        CHECK(lseek(fd, 0, SEEK_CUR) == 10);
        CHECK(pwrite(fd, "x", 1, 4) == 1 && lseek(fd, 0, SEEK_CUR) == 10);
        CHECK(lseek(fd, -6, SEEK_END) == 4 && read(fd, &one, 1) == 1 && one == 'x');
        CHECK(lseek(fd, -1, SEEK_SET) == -1 && errno == EINVAL);
        CHECK(lseek(fd, 0, 99) == -1 && errno == EINVAL);
        CHECK(pread(fd, &one, 1, -1) == -1 && errno == EINVAL);
        CHECK(lseek(fd, 0, SEEK_CUR) == 5);
        CHECK(lseek(fd, 20, SEEK_SET) == 20 && read(fd, &one, 1) == 0);
        int queue[2];
        CHECK(pipe(queue) == 0 && lseek(queue[0], 0, SEEK_SET) == -1 && errno == ESPIPE);
        CHECK(close(queue[0]) == 0 && close(queue[1]) == 0);
    } while (!gate_is_open());
    return well();
}
