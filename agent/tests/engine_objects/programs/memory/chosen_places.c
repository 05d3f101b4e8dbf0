/* A mapping goes where it must, where it may, or nowhere if something is there already. */
#include "program.h"
#define PAGE 4096ul

int main(void) {
    const int private = MAP_PRIVATE | MAP_ANONYMOUS;
    do {
        unsigned char *area = mmap(0, 10 * PAGE, PROT_READ | PROT_WRITE, private, -1, 0);
        CHECK(area != MAP_FAILED);
        memset(area, 1, 10 * PAGE);
        CHECK(mmap(area + PAGE, PAGE, PROT_READ, private | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED && errno == EEXIST);
        CHECK(munmap(area + 4 * PAGE, 2 * PAGE) == 0);
        CHECK(mmap(area + 5 * PAGE, 2 * PAGE, PROT_READ, private | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
        CHECK(mmap(area + 4 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE, private | MAP_FIXED_NOREPLACE, -1, 0) == area + 4 * PAGE);
        compute(1, 30);
        CHECK(area[4 * PAGE] == 0 && area[3 * PAGE] == 1 && area[6 * PAGE] == 1);
        CHECK(mmap(area + 7 * PAGE, PAGE, PROT_READ | PROT_WRITE, private | MAP_FIXED, -1, 0) == area + 7 * PAGE);
        CHECK(area[7 * PAGE] == 0);
        unsigned char *elsewhere = mmap(area, PAGE, PROT_READ, private, -1, 0);
        CHECK(elsewhere != MAP_FAILED && elsewhere != area && munmap(elsewhere, PAGE) == 0);
        CHECK(mmap(area + 1, PAGE, PROT_READ, private | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EINVAL);
        CHECK(mmap(0, 0, PROT_READ, private, -1, 0) == MAP_FAILED && errno == EINVAL);
        unsigned char *low = mmap(0, PAGE, PROT_READ | PROT_WRITE, private | MAP_32BIT, -1, 0);
        CHECK(low != MAP_FAILED && (uintptr_t)low < 1ul << 31);
        low[0] = 5;
        compute(1, 30);
        CHECK(low[0] == 5 && munmap(low, PAGE) == 0 && munmap(area, 10 * PAGE) == 0);
    } while (!gate_is_open());
    return well();
}
