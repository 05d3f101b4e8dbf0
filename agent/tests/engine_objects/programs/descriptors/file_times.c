/* Stat in all its forms agrees; times are set to the nanosecond. */
#include "program.h"
#include <sys/sysmacros.h>

int main(void) {
    make_file("file", "12345");
    CHECK(symlink("file", "link") == 0);
    do {
        struct timespec times[2] = {{1000000001, 123456789}, {1000000002, 987654321}};
        CHECK(utimensat(AT_FDCWD, "file", times, 0) == 0);
        struct stat a, b;
        struct statx x;
        CHECK(stat("link", &a) == 0 && a.st_mtim.tv_sec == 1000000002 && a.st_mtim.tv_nsec == 987654321);
        CHECK(a.st_atim.tv_sec == 1000000001 && a.st_atim.tv_nsec == 123456789);
        CHECK(statx(AT_FDCWD, "link", 0, STATX_BASIC_STATS, &x) == 0 && x.stx_ino == a.st_ino);
        CHECK(x.stx_size == 5 && x.stx_mtime.tv_nsec == 987654321 && x.stx_mode == a.st_mode);
        CHECK(makedev(x.stx_dev_major, x.stx_dev_minor) == a.st_dev);
        CHECK(lstat("link", &b) == 0 && b.st_ino != a.st_ino && b.st_size == 4);
        times[0].tv_nsec = UTIME_OMIT, times[1].tv_nsec = UTIME_NOW;
        int fd = open("file", O_RDWR);
        CHECK(futimens(fd, times) == 0 && fstat(fd, &b) == 0 && close(fd) == 0);
        CHECK(b.st_atim.tv_sec == 1000000001 && b.st_mtim.tv_sec > 1500000000);
        CHECK(statx(AT_FDCWD, "missing", 0, STATX_ALL, &x) == -1 && errno == ENOENT);
        CHECK(statx(AT_FDCWD, "", AT_EMPTY_PATH, STATX_TYPE, &x) == 0 && S_ISDIR(x.stx_mode));
    } while (!gate_is_open());
    return well();
}
