/* Names are made, exchanged and removed relative to a directory's descriptor. */
#include "program.h"
#include <sys/syscall.h>

int main(void) {
    CHECK(mkdir("d", 0700) == 0);
    int d = open("d", O_PATH | O_DIRECTORY);
    CHECK(d >= 0);
    do {
        int fd = openat(d, "a", O_WRONLY | O_CREAT | O_EXCL, 0600);
        CHECK(fd >= 0 && write(fd, "a", 1) == 1 && close(fd) == 0);
        CHECK(openat(d, "a", O_WRONLY | O_CREAT | O_EXCL, 0600) == -1 && errno == EEXIST);
        CHECK(linkat(d, "a", d, "b", 0) == 0);
        struct stat a, b;
        CHECK(fstatat(d, "a", &a, 0) == 0 && fstatat(d, "b", &b, 0) == 0);
        CHECK(a.st_ino == b.st_ino && a.st_nlink == 2 && a.st_size == 1);
        CHECK(renameat2(d, "a", d, "b", RENAME_NOREPLACE) == -1 && errno == EEXIST);
        CHECK(unlinkat(d, "b", 0) == 0 && mkdirat(d, "b", 0700) == 0);
        CHECK(renameat2(d, "a", d, "b", RENAME_EXCHANGE) == 0);
        CHECK(fstatat(d, "a", &a, 0) == 0 && S_ISDIR(a.st_mode));
        CHECK(symlinkat("b", d, "link") == 0 && fstatat(d, "link", &a, AT_SYMLINK_NOFOLLOW) == 0);
        CHECK(S_ISLNK(a.st_mode) && fstatat(d, "link", &a, 0) == 0 && S_ISREG(a.st_mode));
        char target[4];
        CHECK(readlinkat(d, "link", target, 4) == 1 && target[0] == 'b');
        CHECK(openat(d, "link", O_RDONLY | O_NOFOLLOW) == -1 && errno == ELOOP);
        CHECK(mknodat(d, "fifo", S_IFIFO | 0600, 0) == 0 && faccessat(d, "fifo", R_OK, 0) == 0);
        CHECK(unlinkat(d, "a", 0) == -1 && errno == EISDIR && unlinkat(d, "a", AT_REMOVEDIR) == 0);
        CHECK(unlinkat(d, "b", 0) == 0 && unlinkat(d, "link", 0) == 0 && unlinkat(d, "fifo", 0) == 0);
        CHECK(read(d, target, 1) == -1 && errno == EBADF);
    } while (!gate_is_open());
    return well();
}
