/* Files without a name live as long as they are open, and can get one. */
#include "program.h"
int main(void) {
    do {
        make_file("name", "kept");
        int fd = open("name", O_RDWR);
        struct stat status;
        CHECK(unlink("name") == 0 && fstat(fd, &status) == 0 && status.st_nlink == 0);
        char text[8] = {0};
        CHECK(pread(fd, text, 8, 0) == 4 && !strcmp(text, "kept") && close(fd) == 0);
        int nameless = open(".", O_TMPFILE | O_RDWR, 0600);
        CHECK(nameless >= 0 && write(nameless, "named", 5) == 5);
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", nameless);
        CHECK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0);
        fd = open("named", O_RDONLY);
        CHECK(read(fd, text, 8) == 5 && !memcmp(text, "named", 5));
        CHECK(close(fd) == 0 && close(nameless) == 0 && unlink("named") == 0);
    } while (!gate_is_open());
    return well();
}
