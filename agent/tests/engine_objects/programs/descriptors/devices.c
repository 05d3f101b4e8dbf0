/* Null, zero, full and random devices are as always. */
#include "program.h"
#include <sys/random.h>
#include <sys/sysmacros.h>

int main(void) {
    int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR), full = open("/dev/full", O_RDWR);
    int random = open("/dev/urandom", O_RDONLY);
    CHECK(null >= 0 && zero >= 0 && full >= 0 && random >= 0);
    do {
        unsigned char bytes[64] = {1}, more[64];
        struct stat status;
        CHECK(write(null, bytes, 64) == 64 && read(null, bytes, 64) == 0);
        CHECK(read(zero, bytes, 64) == 64 && bytes[0] == 0 && bytes[63] == 0);
        CHECK(write(full, bytes, 1) == -1 && errno == ENOSPC && read(full, bytes, 1) == 1);
        CHECK(read(random, bytes, 64) == 64 && getrandom(more, 64, 0) == 64 && memcmp(bytes, more, 64));
        CHECK(fstat(null, &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3));
        CHECK(lseek(null, 100, SEEK_SET) == 0 && !isatty(null) && errno == ENOTTY);
    } while (!gate_is_open());
    return well();
}
