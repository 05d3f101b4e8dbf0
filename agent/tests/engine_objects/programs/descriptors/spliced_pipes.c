/* Splice and tee move and double what is in pipes. */
#include "program.h"
int main(void) {
    int a[2], b[2], file = open("file", O_RDWR | O_CREAT, 0600);
    CHECK(file >= 0 && pipe(a) == 0 && pipe(b) == 0);
    char seen[32];
    do {
        CHECK(write(a[1], "spliced and teed", 16) == 16);
        CHECK(tee(a[0], b[1], 100, 0) == 16 && read(b[0], seen, 32) == 16);
        CHECK(!memcmp(seen, "spliced and teed", 16));
        loff_t at = 50;
        CHECK(splice(a[0], 0, file, &at, 16, SPLICE_F_MOVE) == 16 && at == 66);
        CHECK(pread(file, seen, 16, 50) == 16 && !memcmp(seen, "spliced and teed", 16));
        at = 58;
        CHECK(splice(file, &at, b[1], 0, 100, 0) == 8 && read(b[0], seen, 32) == 8);
        CHECK(!memcmp(seen, "and teed", 8));
        CHECK(splice(a[0], 0, b[1], 0, 1, SPLICE_F_NONBLOCK) == -1 && errno == EAGAIN);
        CHECK(tee(a[0], b[1], 1, SPLICE_F_NONBLOCK) == -1 && errno == EAGAIN);
        CHECK(splice(file, 0, file, 0, 1, 0) == -1 && errno == EINVAL);
    } while (!gate_is_open());
    return well();
}
