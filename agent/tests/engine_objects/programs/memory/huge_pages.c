/* Memory that may have huge pages, wants them or does not, is the same memory. */
#include "program.h"
#include <sys/prctl.h>
#define MIB (1024ul * 1024)

int main(void) {
    const size_t length = 6 * MIB;
    unsigned char *all = mmap(0, length + 2 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(all != MAP_FAILED);
    unsigned char *area = (unsigned char *)(((uintptr_t)all + 2 * MIB - 1) & ~(2 * MIB - 1));
    CHECK(madvise(area, length, MADV_HUGEPAGE) == 0 || errno == EINVAL);
    memset(area, 7, 2 * MIB);
    unsigned round = 0;
    do {
        round++;
        area[2 * MIB + round % 512 * 4096] = round;
        compute(1, 50);
        CHECK(area[2 * MIB + round % 512 * 4096] == (unsigned char)round);
        CHECK(area[0] == 7 && area[MIB] == 7 && area[5 * MIB] == 0);
        CHECK(madvise(area + 4 * MIB, 2 * MIB, round % 2 ? MADV_NOHUGEPAGE : MADV_HUGEPAGE) == 0 || errno == EINVAL);
        CHECK(munmap(area + 4 * MIB + 40960, 4096) == 0);
        CHECK(mmap(area + 4 * MIB + 40960, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
              area + 4 * MIB + 40960);
    } while (!gate_is_open());
    return well();
}
