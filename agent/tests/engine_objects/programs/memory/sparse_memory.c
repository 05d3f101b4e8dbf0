/* Some pages of a gigabyte that is not reserved are used; the others stay nothing. */
#include "program.h"
#define PAGE 4096ul

int main(void) {
    const size_t length = 1ul << 30;
    unsigned char *area = mmap(0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(area != MAP_FAILED && madvise(area, length, MADV_NOHUGEPAGE) == 0);
    for (size_t at = 0; at < length; at += length / 64)
        area[at] = at >> 24;
    unsigned round = 0;
    do {
        round++;
        area[(round * 7919ul * PAGE) % length + 1] = 1;
        compute(1, 50);
        for (size_t at = 0; at < length; at += length / 64)
            CHECK(area[at] == (unsigned char)(at >> 24) && area[at + 2] == 0);
        if (round % 64 == 0)
            CHECK(madvise(area + length / 64 - 100 * PAGE, 50 * PAGE, MADV_DONTNEED) == 0);
    } while (!gate_is_open());
    return well();
}
