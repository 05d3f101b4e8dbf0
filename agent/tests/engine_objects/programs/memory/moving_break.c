/* The break moves up and down, in pages and in bytes; what it uncovers again is empty. */
#include "program.h"
#define PAGE 4096ul
#include <sys/syscall.h>

int main(void) {
    unsigned char *start = (unsigned char *)(((uintptr_t)sbrk(0) + PAGE - 1) & ~(PAGE - 1));
    unsigned round = 0;
    do {
        round++;
        size_t pages = 10 + round % 300;
        CHECK((unsigned char *)syscall(SYS_brk, start + pages * PAGE + 5) == start + pages * PAGE + 5);
        for (size_t i = 0; i < pages; i += 3) {
            CHECK(start[i * PAGE] == 0);
            start[i * PAGE] = i;
        }
        start[pages * PAGE + 4] = 9;
        compute(1, 30);
        CHECK((unsigned char *)syscall(SYS_brk, start + 4 * PAGE) == start + 4 * PAGE);
        CHECK(start[3 * PAGE] == 3);
        CHECK((unsigned char *)syscall(SYS_brk, start + 9 * PAGE) == start + 9 * PAGE && start[6 * PAGE] == 0);
        CHECK(syscall(SYS_brk, 0) == (long)(start + 9 * PAGE));
        CHECK((unsigned char *)syscall(SYS_brk, start) == start);
    } while (!gate_is_open());
    return well();
}
