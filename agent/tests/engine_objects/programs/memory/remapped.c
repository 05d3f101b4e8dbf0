/* mremap grows, shrinks, moves to a given place, and leaves an empty area behind if it is told to. */
#include "program.h"
#define PAGE 4096ul
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

int main(void) {
    do {
        unsigned char *area = mmap(0, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        unsigned char *place = mmap(0, 32 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(area != MAP_FAILED && place != MAP_FAILED);
        for (int i = 0; i < 8; i++)
            area[i * PAGE] = i + 1;
        CHECK(mremap(area, 8 * PAGE, 6 * PAGE, 0) == area);
        CHECK(mremap(area, 6 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place + 4 * PAGE) == place + 4 * PAGE);
        unsigned char *moved = place + 4 * PAGE;
        compute(1, 20);
        for (int i = 0; i < 16; i++)
            CHECK(moved[i * PAGE] == (i < 6 ? i + 1 : 0));
        CHECK(msync(area, PAGE, MS_ASYNC) == -1 && errno == ENOMEM);
        unsigned char *again = mremap(moved, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0);
        CHECK(again != MAP_FAILED && again != moved);
        compute(1, 20);
        for (int i = 0; i < 4; i++)
            CHECK(again[i * PAGE] == i + 1 && moved[i * PAGE] == 0);
        CHECK(mremap(again, 4 * PAGE, 8 * PAGE, MREMAP_FIXED | MREMAP_MAYMOVE, again + 1) == MAP_FAILED && errno == EINVAL);
        CHECK(mremap((void *)PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
        CHECK(munmap(again, 4 * PAGE) == 0 && munmap(place, 32 * PAGE) == 0);
    } while (!gate_is_open());
    return well();
}
