/* Code that the program writes, protects and runs: as a JIT does, page by page. */
#include "program.h"
#define PAGE 4096ul

static void put(unsigned char *at, uint32_t value) {
    const unsigned char code[] = {0xb8, value, value >> 8, value >> 16, value >> 24, 0xc3}; /* mov eax, value; ret */
    memcpy(at, code, sizeof code);
}

int main(void) {
    unsigned char *code = mmap(0, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(code != MAP_FAILED);
    unsigned char *both = mmap(0, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(both != MAP_FAILED);
    uint32_t round = 0;
    do {
        round++;
        unsigned char *page = code + round % 16 * PAGE;
        CHECK(mprotect(page, PAGE, PROT_READ | PROT_WRITE) == 0);
        for (unsigned i = 0; i < 100; i++)
            put(page + i * 16, round * 1000 + i);
        CHECK(mprotect(page, PAGE, PROT_READ | PROT_EXEC) == 0);
        compute(1, 30);
        for (unsigned i = 0; i < 100; i++)
            CHECK(((uint32_t(*)(void))(page + i * 16))() == round * 1000 + i);
        /* and code that is changed where it stands, between two calls of it */
        for (unsigned i = 0; i < 20; i++) {
            put(both, i);
            CHECK(((uint32_t(*)(void))both)() == i);
        }
    } while (!gate_is_open());
    return well();
}
