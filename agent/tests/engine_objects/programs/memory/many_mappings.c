/* Three thousand mappings, each other than its neighbours. */
#include "program.h"
#define PAGE 4096ul
enum { PAGES = 3000 };

int main(void) {
    unsigned char *area = mmap(0, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    for (unsigned i = 0; i < PAGES; i += 10)
        area[i * PAGE] = i;
    for (unsigned i = 0; i < PAGES; i += 2)
        CHECK(mprotect(area + i * PAGE, PAGE, i % 4 ? PROT_NONE : PROT_READ) == 0);
    unsigned round = 0;
    do {
        unsigned page = round++ * 38 % PAGES & ~1u;
        CHECK(mprotect(area + page * PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
        area[page * PAGE + 1] = 1;
        compute(1, 20);
        CHECK(area[page * PAGE] == (unsigned char)(page % 10 ? 0 : page));
        CHECK(mprotect(area + page * PAGE, PAGE, page % 4 ? PROT_NONE : PROT_READ) == 0);
        for (unsigned i = 0; i < PAGES; i += 20)
            CHECK(area[i * PAGE] == (unsigned char)i);
    } while (!gate_is_open());
    return well();
}
