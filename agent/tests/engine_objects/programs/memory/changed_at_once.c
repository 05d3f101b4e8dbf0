/* Large memory is moved, thrown away, replaced, split and forked from the first moment on: each block keeps its
   pattern wherever it is, also while its contents are still on their way. */
#include "program.h"
#include <sys/wait.h>

enum { BLOCKS = 48, BLOCK_BYTES = 512 << 10, PAGE = 4096 };

static unsigned char *blocks[BLOCKS];
static unsigned char patterns[BLOCKS];
static uint64_t state = 42;

static unsigned chance(unsigned bound) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state >> 33) % bound;
}

static void fill(int block, unsigned char pattern) {
    for (size_t at = 0; at < BLOCK_BYTES; at += PAGE)
        memset(blocks[block] + at, pattern ? pattern + (int)(at / PAGE) % 100 : 0, PAGE);
    patterns[block] = pattern;
}

static void check(int block) {
    for (size_t at = chance(8) * PAGE; at < BLOCK_BYTES; at += PAGE * (1 + chance(8))) {
        unsigned char wanted = patterns[block] ? patterns[block] + at / PAGE % 100 : 0;
        CHECK(blocks[block][at + chance(PAGE)] == wanted);
    }
}

static void *map(void) {
    void *at = mmap(0, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

static void change(int block) {
    switch (chance(6)) {
    case 0: { /* moved to an address that was free */
        unsigned char *to = map();
        void *moved = mremap(blocks[block], BLOCK_BYTES, BLOCK_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, to);
        CHECK(moved == to);
        blocks[block] = to;
        break;
    }
    case 1: /* thrown away */
        CHECK(madvise(blocks[block], BLOCK_BYTES, MADV_DONTNEED) == 0);
        patterns[block] = 0;
        break;
    case 2: /* replaced where it is */
        CHECK(mmap(blocks[block], BLOCK_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == blocks[block]);
        patterns[block] = 0;
        break;
    case 3: /* unmapped, and another one made */
        CHECK(munmap(blocks[block], BLOCK_BYTES) == 0);
        blocks[block] = map();
        fill(block, 1 + chance(100));
        break;
    case 4: /* split in the middle, and joined again */
        CHECK(mprotect(blocks[block] + BLOCK_BYTES / 4, BLOCK_BYTES / 2, PROT_READ) == 0);
        check(block);
        CHECK(mprotect(blocks[block] + BLOCK_BYTES / 4, BLOCK_BYTES / 2, PROT_READ | PROT_WRITE) == 0);
        break;
    default:
        fill(block, 1 + chance(100));
    }
}

static void fork_and_check(void) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (int block = 0; block < BLOCKS; block++)
            check(block);
        _exit(7);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

int main(void) {
    for (int block = 0; block < BLOCKS; block++) {
        blocks[block] = map();
        fill(block, 1 + block);
    }
    for (unsigned round = 0; round < 200 || !gate_is_open(); round++) {
        change((int)chance(BLOCKS));
        check((int)chance(BLOCKS));
        if (round % 100 == 0)
            fork_and_check();
    }
    for (int block = 0; block < BLOCKS; block++)
        check(block);
    puts("every block has its pattern");
    return 0;
}
