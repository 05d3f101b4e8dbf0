/* Scattered reads and gathered writes fill and empty their pieces in order. */
#include "program.h"
int main(void) {
    int fd = open("file", O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0);
    volatile int minus_one = -1;
    do {
        char letters[26], seen[26] = {0};
        struct iovec out[26], in[13];
        for (int i = 0; i < 26; i++) {
            letters[i] = 'a' + i;
            out[i] = (struct iovec){letters + i, 1};
        }
        for (int i = 0; i < 13; i++)
            in[i] = (struct iovec){seen + 2 * i, 2};
        CHECK(lseek(fd, 0, SEEK_SET) == 0 && writev(fd, out, 26) == 26);
        CHECK(lseek(fd, 0, SEEK_SET) == 0 && readv(fd, in, 13) == 26);
        CHECK(!memcmp(letters, seen, 26));
        memset(seen, 0, sizeof seen);
        CHECK(pwritev(fd, out + 13, 13, 0) == 13 && preadv(fd, in, 13, 10) == 16);
        CHECK(!memcmp(seen, "xyznopqrstuvwxyz", 16));
        CHECK(preadv2(fd, in, 13, 0, 0) == 26 && !memcmp(seen, "nopqrstuvwxyznopqrstuvwxyz", 26));
        CHECK(pwritev2(fd, out, 2, 0, RWF_DSYNC) == 2);
        CHECK(readv(fd, in, minus_one) == -1 && errno == EINVAL);
        CHECK(readv(fd, in, 0) == 0);
        in[1] = (struct iovec){(void *)8, 2};
        CHECK(preadv(fd, in, 2, 0) == 2 || errno == EFAULT);
    } while (!gate_is_open());
    return well();
}
