/* The program changes its own text, which is a private view of its file. */
#include "program.h"
#define PAGE 4096ul

__attribute__((noinline, aligned(64))) static int answer(void) {
    int value;
    __asm__ volatile("movl $0x11223344, %0" : "=r"(value));
    return value;
}

int main(void) {
    unsigned char *text = (unsigned char *)answer;
    size_t at = 0;
    while (memcmp(text + at, "\x44\x33\x22\x11", 4) != 0)
        CHECK(++at < 64);
    unsigned char *page = (unsigned char *)((uintptr_t)text & ~(PAGE - 1));
    int round = 0;
    do {
        round++;
        CHECK(mprotect(page, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
        memcpy(text + at, &round, sizeof round);
        CHECK(mprotect(page, 2 * PAGE, PROT_READ | PROT_EXEC) == 0);
        compute(1, 100);
        CHECK(answer() == round);
    } while (!gate_is_open());
    return well();
}
