/* A file that is cut and lengthened reads as zeros where it was cut. */
#include "program.h"
int main(void) {
    do {
        make_file("file", "abcdefgh");
        CHECK(truncate("file", 3) == 0);
        int fd = open("file", O_RDWR);
        CHECK(fd >= 0 && ftruncate(fd, 8) == 0);
        char text[9] = {0};
        CHECK(read(fd, text, 9) == 8 && !memcmp(text, "abc\0\0\0\0\0", 8));
        CHECK(ftruncate(fd, -1) == -1 && errno == EINVAL);
        off_t large = 5LL << 30;
        CHECK(ftruncate(fd, large) == 0 && lseek(fd, 0, SEEK_END) == large);
        CHECK(pwrite(fd, "end", 3, large - 3) == 3 && pread(fd, text, 8, large - 5) == 5);
        CHECK(!memcmp(text, "\0\0end", 5) && close(fd) == 0);
        fd = open("file", O_RDONLY);
        CHECK(ftruncate(fd, 0) == -1 && errno == EINVAL && close(fd) == 0);
        CHECK(truncate("missing", 0) == -1 && errno == ENOENT);
    } while (!gate_is_open());
    return well();
}
