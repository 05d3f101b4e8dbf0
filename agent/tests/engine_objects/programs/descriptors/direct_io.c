/* O_DIRECT reads and writes by aligned buffers, and refuses others. */
#include "program.h"
enum { BLOCK = 4096 };

int main(void) {
    int fd = open("file", O_RDWR | O_CREAT | O_DIRECT, 0600);
    CHECK(fd >= 0);
    unsigned char *out, *in;
    CHECK(posix_memalign((void **)&out, BLOCK, 4 * BLOCK) == 0);
    CHECK(posix_memalign((void **)&in, BLOCK, 4 * BLOCK) == 0);
    for (unsigned round = 0;; round++) {
        for (int i = 0; i < 4 * BLOCK; i++)
            out[i] = i * 7 + i / BLOCK + round;
        CHECK(pwrite(fd, out, 4 * BLOCK, 0) == 4 * BLOCK);
        memset(in, 0, 4 * BLOCK);
        CHECK(pread(fd, in, 4 * BLOCK, 0) == 4 * BLOCK && !memcmp(in, out, 4 * BLOCK));
        CHECK(pread(fd, in, BLOCK, 3 * BLOCK) == BLOCK && !memcmp(in, out + 3 * BLOCK, BLOCK));
        CHECK(pread(fd, in, 100, 0) == -1 && errno == EINVAL);
        struct iovec parts[2] = {{in, BLOCK}, {in + 2 * BLOCK, BLOCK}};
        CHECK(preadv(fd, parts, 2, BLOCK) == 2 * BLOCK && !memcmp(in, out + BLOCK, BLOCK));
        CHECK(!memcmp(in + 2 * BLOCK, out + 2 * BLOCK, BLOCK));
        if (gate_is_open())
            return well();
    }
}
