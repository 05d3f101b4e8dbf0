/* Two descriptors that append never overwrite each other. */
#include "program.h"
int main(void) {
    int a = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600), b = open("log", O_RDWR | O_APPEND);
    CHECK(a >= 0 && b >= 0);
    off_t end = 0;
    do {
        CHECK(write(a, "first ", 6) == 6 && lseek(b, 0, SEEK_SET) == 0);
        CHECK(write(b, "second", 6) == 6 && lseek(b, 0, SEEK_CUR) == end + 12);
        char text[13] = {0};
        CHECK(pread(b, text, 12, end) == 12 && !strcmp(text, "first second"));
        // pwrite(2), BUGS: with O_APPEND the offset does not count.
        CHECK(pwrite(b, "third!", 6, 0) == 6);
        CHECK(pread(b, text, 6, 0) == 6 && !memcmp(text, "first ", 6));
        end += 18;
        struct stat status;
        CHECK(fstat(a, &status) == 0 && status.st_size == end);
    } while (!gate_is_open());
    return well();
}
