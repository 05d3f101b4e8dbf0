/* mincore tells which pages there are, and what is not mapped at all. */
#include "program.h"
#define PAGE 4096ul

int main(void) {
    do {
        unsigned char present[8], *area = mmap(0, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(area != MAP_FAILED && madvise(area, 8 * PAGE, MADV_NOHUGEPAGE) == 0);
        area[0] = area[5 * PAGE] = 1;
        CHECK(mincore(area, 8 * PAGE, present) == 0 && (present[0] & 1) && (present[5] & 1) && !(present[7] & 1));
        CHECK(munmap(area + 7 * PAGE, PAGE) == 0);
        CHECK(mincore(area, 8 * PAGE, present) == -1 && errno == ENOMEM);
        CHECK(mincore(area + 1, PAGE, present) == -1 && errno == EINVAL);
        CHECK(munmap(area, 7 * PAGE) == 0);
    } while (!gate_is_open());
    return well();
}
