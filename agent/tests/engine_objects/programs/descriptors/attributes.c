/* Extended attributes are set, listed, read and removed. */
#include "program.h"
#include <sys/xattr.h>

int main(void) {
    make_file("file", "");
    int fd = open("file", O_RDWR);
    do {
        char value[64], list[64];
        CHECK(setxattr("file", "user.colour", "blue", 4, XATTR_CREATE) == 0);
        CHECK(setxattr("file", "user.colour", "red", 3, XATTR_CREATE) == -1 && errno == EEXIST);
        CHECK(fsetxattr(fd, "user.size", "\1\0\2", 3, 0) == 0);
        CHECK(getxattr("file", "user.size", value, sizeof value) == 3 && !memcmp(value, "\1\0\2", 3));
        CHECK(fgetxattr(fd, "user.colour", 0, 0) == 4);
        CHECK(fgetxattr(fd, "user.colour", value, 2) == -1 && errno == ERANGE);
        CHECK(listxattr("file", list, sizeof list) == 22 && flistxattr(fd, 0, 0) == 22);
        CHECK(removexattr("file", "user.colour") == 0 && fremovexattr(fd, "user.size") == 0);
        CHECK(getxattr("file", "user.size", value, sizeof value) == -1 && errno == ENODATA);
    } while (!gate_is_open());
    return well();
}
