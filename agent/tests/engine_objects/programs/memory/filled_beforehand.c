/* Memory is filled, emptied and given back by advice, and locked as far as the limit goes. */
#include "program.h"
#include <sys/resource.h>
#define PAGE 4096ul
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

int main(void) {
    struct rlimit limit = {1 << 20, 1 << 20};
    CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    do {
        unsigned char *area = mmap(0, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        CHECK(area != MAP_FAILED);
        CHECK(madvise(area, 16 * PAGE, MADV_POPULATE_WRITE) == 0 || errno == EINVAL);
        memset(area, 3, 16 * PAGE);
        CHECK(madvise(area, 4 * PAGE, MADV_DONTNEED) == 0 && madvise(area + 4 * PAGE, 4 * PAGE, MADV_FREE) == 0);
        CHECK(madvise(area + 8 * PAGE, 4 * PAGE, MADV_COLD) == 0 && madvise(area + 12 * PAGE, 4 * PAGE, MADV_PAGEOUT) == 0);
        compute(1, 30);
        for (int i = 0; i < 16; i++)
            CHECK(i < 4 ? area[i * PAGE] == 0 : i < 8 ? area[i * PAGE] == 0 || area[i * PAGE] == 3 : area[i * PAGE] == 3);
        area[5 * PAGE] = 4;
        CHECK(madvise(area, 2 * PAGE, MADV_POPULATE_READ) == 0 || errno == EINVAL);
        CHECK(mlock(area + 4 * PAGE, 8 * PAGE) == 0);
        compute(1, 30);
        CHECK(area[5 * PAGE] == 4 && munlock(area + 4 * PAGE, 8 * PAGE) == 0 && munlockall() == 0);
        CHECK(madvise(area, PAGE, 12345) == -1 && errno == EINVAL);
        CHECK(madvise(area + 1, PAGE, MADV_DONTNEED) == -1 && errno == EINVAL);
        CHECK(munmap(area, 16 * PAGE) == 0);
    } while (!gate_is_open());
    return well();
}
