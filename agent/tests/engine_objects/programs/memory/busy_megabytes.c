/* Megabytes that are written, thrown away, mapped anew, moved and protected all the time stay what they are. */
#include "program.h"
#define PAGE 4096ul
#define BLOCK (2ul << 20)

enum { BLOCKS = 8, PAGES = BLOCK / PAGE };

static uint32_t written[BLOCKS][PAGES];
static uint64_t state = 88172645463325252u;

static unsigned below(unsigned end) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 33) % end;
}

static uint64_t *word(char *block, unsigned page, bool is_last) {
    return (uint64_t *)(block + page * PAGE + (is_last ? PAGE - 8 : 0));
}

static uint64_t wanted(unsigned block, unsigned page, bool is_last) {
    uint64_t count = written[block][page];
    return count == 0 ? 0 : count * 0x9e3779b97f4a7c15u ^ (uint64_t)block << 40 ^ page ^ (uint64_t)is_last << 50;
}

static void write_page(char *start, unsigned block, unsigned page) {
    written[block][page]++;
    for (int last = 0; last < 2; last++)
        *word(start, page, last) = wanted(block, page, last);
}

static void check(char *start, unsigned block) {
    for (unsigned page = 0; page < PAGES; page++)
        for (int last = 0; last < 2; last++)
            CHECK(*word(start, page, last) == wanted(block, page, last));
}

/* Memory for one block, aligned so that its page table is its own, or that it can be one huge page. */
static char *map_block(void *at) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0);
    char *start = mmap(at, at ? BLOCK : 2 * BLOCK, PROT_READ | PROT_WRITE, flags, -1, 0);
    CHECK(start != MAP_FAILED);
    if (at)
        return start;
    char *aligned = (char *)(((uintptr_t)start + BLOCK - 1) & ~(BLOCK - 1));
    if (aligned > start)
        CHECK(munmap(start, (size_t)(aligned - start)) == 0);
    CHECK(munmap(aligned + BLOCK, (size_t)(start + BLOCK - aligned)) == 0);
    if (below(2) == 0)
        CHECK(madvise(aligned, BLOCK, MADV_HUGEPAGE) == 0);
    return aligned;
}

static void change(char **starts, unsigned block) {
    char *start = starts[block];
    switch (below(8)) {
    case 0:
        CHECK(madvise(start, BLOCK, MADV_DONTNEED) == 0);
        memset(written[block], 0, sizeof written[block]);
        break;
    case 1:
        CHECK(munmap(start, BLOCK) == 0 && map_block(start) == start);
        memset(written[block], 0, sizeof written[block]);
        break;
    case 2: {
        char *other = map_block(NULL);
        CHECK(mremap(start, BLOCK, BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED, other) == other);
        starts[block] = other;
        break;
    }
    case 3:
        CHECK(mprotect(start, BLOCK, PROT_READ) == 0);
        check(start, block);
        CHECK(mprotect(start, BLOCK, PROT_READ | PROT_WRITE) == 0);
        break;
    case 4:
        for (unsigned page = 0; page < PAGES; page++)
            write_page(start, block, page);
        break;
    default:
        for (int times = 0; times < 20; times++)
            write_page(start, block, below(PAGES));
    }
}

int main(void) {
    char *starts[BLOCKS];
    for (unsigned block = 0; block < BLOCKS; block++) {
        starts[block] = map_block(NULL);
        for (unsigned page = 0; page < PAGES; page++)
            write_page(starts[block], block, page);
    }
    do {
        unsigned block = below(BLOCKS);
        change(starts, block);
        check(starts[block], block);
        block = below(BLOCKS);
        check(starts[block], block);
    } while (!gate_is_open());
    for (unsigned block = 0; block < BLOCKS; block++)
        check(starts[block], block);
    return well();
}
