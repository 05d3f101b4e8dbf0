/* The address space changes: mmap, holes, mprotect, mremap, madvise, brk; untouched pages read as zero. */
#include "program.h"

#define PAGE 4096ul

static bool is_all(const unsigned char *bytes, size_t length, unsigned char wanted) {
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != wanted)
            return false;
    return true;
}

int main(void) {
    unsigned char *kept = mmap(0, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(kept != MAP_FAILED);
    for (int i = 0; i < 64; i += 2)
        memset(kept + i * PAGE, i + 1, PAGE);
    CHECK(munmap(kept + 10 * PAGE, 4 * PAGE) == 0);
    CHECK(mprotect(kept + 20 * PAGE, 2 * PAGE, PROT_READ) == 0);
    CHECK(mprotect(kept + 24 * PAGE, 2 * PAGE, PROT_NONE) == 0);
    unsigned char *break_start = sbrk(0);
    unsigned round = 0;
    do {
        round++;
        unsigned char *area =
            mmap(0, 256 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(area != MAP_FAILED && is_all(area, 256 * PAGE, 0));
        memset(area + 100 * PAGE, 0x5a, 10 * PAGE);
        CHECK(munmap(area + 104 * PAGE, PAGE) == 0);
        CHECK(msync(area + 104 * PAGE, PAGE, MS_ASYNC) == -1 && errno == ENOMEM);
        CHECK(madvise(area + 100 * PAGE, PAGE, MADV_DONTNEED) == 0);
        CHECK(is_all(area + 100 * PAGE, PAGE, 0) && is_all(area + 101 * PAGE, 3 * PAGE, 0x5a));
        compute(1, 500);
        unsigned char *moved = mremap(area + 105 * PAGE, 5 * PAGE, 40 * PAGE, MREMAP_MAYMOVE);
        CHECK(moved != MAP_FAILED && is_all(moved, 5 * PAGE, 0x5a));
        CHECK(is_all(moved + 5 * PAGE, 35 * PAGE, 0));
        CHECK(munmap(moved, 40 * PAGE) == 0 && munmap(area, 256 * PAGE) == 0);
        CHECK(sbrk(3 * PAGE) == break_start && is_all(break_start, 3 * PAGE, 0));
        memset(break_start, round, 3 * PAGE);
        compute(2, 500);
        CHECK(is_all(break_start, 3 * PAGE, (unsigned char)round));
        CHECK(brk(break_start) == 0 && sbrk(0) == break_start);
        for (int i = 0; i < 64; i++)
            if ((i < 10 || i >= 14) && i != 24 && i != 25)
                CHECK(is_all(kept + i * PAGE, PAGE, i % 2 ? 0 : i + 1));
        CHECK(mprotect(kept + 24 * PAGE, 2 * PAGE, PROT_READ) == 0);
        CHECK(is_all(kept + 24 * PAGE, PAGE, 25) && is_all(kept + 25 * PAGE, PAGE, 0));
        CHECK(mprotect(kept + 24 * PAGE, 2 * PAGE, PROT_NONE) == 0);
        /* the kernel answers for memory that the program itself must not touch */
        CHECK(write(1, kept + 24 * PAGE, 0) == 0);
    } while (!gate_is_open());
    puts("memory as expected");
    return 0;
}
