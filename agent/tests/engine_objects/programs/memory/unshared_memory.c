/* Shared memory that the program has for itself: made before leaving and while away, seen at several places,
   taken apart, protected, moved; nothing may be lost. */
#include "program.h"

#define PAGE 4096ul

enum { PAGES = 32 };

static unsigned char *shared(size_t pages) {
    unsigned char *area =
        mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    return area;
}

/* One more view of the same pages (mremap(2) with an old size of 0). */
static unsigned char *view(unsigned char *area, size_t pages) {
    unsigned char *again = mremap(area, 0, pages * PAGE, MREMAP_MAYMOVE);
    CHECK(again != MAP_FAILED && again != area);
    return again;
}

static unsigned char content(unsigned page, unsigned round) {
    return (unsigned char)(page * 7 + round * 31 + 1);
}

int main(void) {
    unsigned char *kept = shared(PAGES);
    unsigned char *again = view(kept + 16 * PAGE, 8);
    CHECK(munmap(kept + 4 * PAGE, 4 * PAGE) == 0);
    CHECK(mprotect(kept + 10 * PAGE, PAGE, PROT_READ) == 0);
    unsigned round = 0;
    do {
        round++;
        for (unsigned page = 0; page < PAGES; page++)
            if ((page < 4 || page >= 8) && page != 10)
                kept[page * PAGE + 5] = content(page, round);
        unsigned char *fresh = shared(12);
        fresh[3 * PAGE] = 1;
        unsigned char *other = view(fresh, 12);
        other[11 * PAGE] = 2;
        compute(1, 300);
        CHECK(fresh[3 * PAGE] == 1 && other[3 * PAGE] == 1 && fresh[11 * PAGE] == 2);
        for (unsigned page = 16; page < 24; page++)
            CHECK(again[(page - 16) * PAGE + 5] == content(page, round));
        again[7] = (unsigned char)round;
        /* its own views may go, the contents stay */
        CHECK(madvise(kept, 4 * PAGE, MADV_DONTNEED) == 0);
        CHECK(kept[5] == content(0, round) && kept[3 * PAGE + 5] == content(3, round));
        /* moved to a place of its own, half of it protected */
        CHECK(mprotect(other + 6 * PAGE, 6 * PAGE, PROT_READ) == 0);
        unsigned char *place =
            mmap(0, 12 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(place != MAP_FAILED);
        CHECK(mremap(other, 6 * PAGE, 6 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place);
        place[0] = 9;
        compute(2, 300);
        CHECK(fresh[0] == 9 && other[11 * PAGE] == 2 && kept[16 * PAGE + 7] == (unsigned char)round);
        CHECK(munmap(place, 12 * PAGE) == 0 && munmap(other + 6 * PAGE, 6 * PAGE) == 0);
        /* ordinary memory where shared memory was must not be shared */
        CHECK(madvise(fresh, PAGE, MADV_REMOVE) == 0 && fresh[0] == 0);
        CHECK(munmap(fresh + PAGE, PAGE) == 0);
        unsigned char *ordinary =
            mmap(fresh + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(ordinary != MAP_FAILED && ordinary[9] == 0);
        ordinary[9] = 77;
        compute(3, 300);
        CHECK(fresh[0] == 0 && fresh[3 * PAGE] == 1 && ordinary[9] == 77);
        CHECK(munmap(ordinary, PAGE) == 0 && munmap(fresh, 12 * PAGE) == 0);
        for (unsigned page = 0; page < PAGES; page++)
            if ((page < 4 || page >= 8) && page != 10)
                CHECK(kept[page * PAGE + 5] == content(page, round));
    } while (!gate_is_open());
    puts("shared memory is shared and not lost");
    return 0;
}
