/* Terabytes of addresses: reserved without access, used here and there, and a stack of the program's own that grows. */
#include "program.h"

#define TIB (1ull << 40)

static void *reserve(size_t length, int protection, int flags) {
    void *area =
        mmap(0, length, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
    CHECK(area != MAP_FAILED);
    return area;
}

static void touch(volatile unsigned char *from, volatile unsigned char *to) {
    for (volatile unsigned char *at = from; at > to; at -= 4096)
        *at = 5;
}

int main(void) {
    char *none = reserve(4 * TIB, PROT_NONE, 0);
    char *sparse = reserve(8 * TIB, PROT_READ | PROT_WRITE, 0);
    CHECK(mprotect(none + TIB, 1 << 20, PROT_READ | PROT_WRITE) == 0);
    unsigned char *room = reserve(64 << 20, PROT_NONE, 0);
    CHECK(munmap(room, 64 << 20) == 0);
    unsigned char *stack = mmap(room + (60 << 20), 8192, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
    CHECK(stack == room + (60 << 20));
    unsigned char *lowest = stack;
    uint64_t round = 0;
    do {
        round++;
        for (uint64_t i = 0; i < 8; i++) {
            uint64_t *word = (uint64_t *)(sparse + i * TIB + i * 4096);
            CHECK(*word == round - 1);
            *word = round;
        }
        uint64_t *inner = (uint64_t *)(none + TIB + 8192);
        CHECK(*inner == round - 1);
        *inner = round;
        compute(1, 500);
        /* RLIMIT_STACK lets the area grow to 8 MiB; a little each round, however many there are */
        if (lowest > stack - (4 << 20)) {
            touch(lowest + 4095, lowest - 16384);
            lowest -= 16384;
        }
        CHECK(*(lowest + 4095) == 5 && *(stack + 4095) == 5);
        char *more = reserve(2 * TIB, PROT_NONE, 0);
        CHECK(mprotect(more + 4096, 4096, PROT_READ | PROT_WRITE) == 0);
        more[4096] = 1;
        compute(2, 500);
        CHECK(more[4096] == 1 && munmap(more, 2 * TIB) == 0);
        char *fixed = mmap(sparse, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
                           -1, 0);
        CHECK(fixed == MAP_FAILED && errno == EEXIST);
    } while (!gate_is_open());
    puts("reserved as natively");
    return 0;
}
