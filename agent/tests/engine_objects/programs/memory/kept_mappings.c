/* Mappings made in one place are there in the next: a new one each round, checked ever after. */
#include "program.h"

enum { MOST = 400 };

int main(void) {
    static unsigned *areas[MOST];
    unsigned count = 0;
    do {
        if (count < MOST) {
            size_t size = (1 + count % 5) * 4096;
            unsigned *area =
                mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            CHECK(area != MAP_FAILED && area[0] == 0);
            area[0] = count;
            if (count % 3 == 0)
                CHECK(mprotect(area, size, PROT_READ) == 0);
            if (count % 7 == 6) {
                unsigned gone = count - 2;
                CHECK(munmap(areas[gone], (1 + gone % 5) * 4096) == 0);
                areas[gone] = 0;
            }
            areas[count++] = area;
        }
        for (unsigned i = 0; i < count; i++)
            CHECK(!areas[i] || areas[i][0] == i);
        char *small = malloc(5000 + count * 100);
        memset(small, 1, 5000);
        free(small);
        compute(1, 100);
    } while (!gate_is_open());
    puts("mappings kept");
    return 0;
}
