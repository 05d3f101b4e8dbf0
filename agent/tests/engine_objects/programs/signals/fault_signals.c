/* Faults tell where and why. */
#include "program.h"
#include <setjmp.h>

static sigjmp_buf back;
static siginfo_t seen;

static void on_fault(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    seen = *info;
    siglongjmp(back, 1);
}

#define FAULT(statement, signal, code)                                                             \
    do {                                                                                           \
        if (sigsetjmp(back, 1) == 0) {                                                             \
            statement;                                                                             \
            CHECK(!#statement);                                                                    \
        }                                                                                          \
        CHECK(seen.si_signo == signal && seen.si_code == code);                                    \
    } while (0)

int main(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    for (int i = 0; i < 5; i++)
        CHECK(sigaction((int[]){SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}[i], &action, 0) == 0);
    char *page = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *readable = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    volatile int zero = 0, number = 7;
    do {
        FAULT(*(volatile char *)(page + 5) = 1, SIGSEGV, SEGV_ACCERR);
        CHECK(seen.si_addr == page + 5);
        FAULT(readable[9] = 1, SIGSEGV, SEGV_ACCERR);
        CHECK(seen.si_addr == readable + 9);
        FAULT(*(volatile int *)(uintptr_t)64 = 1, SIGSEGV, SEGV_MAPERR);
        CHECK(seen.si_addr == (void *)64);
        FAULT(number /= zero, SIGFPE, FPE_INTDIV);
        FAULT(__asm__ volatile("ud2"), SIGILL, ILL_ILLOPN);
        FAULT(__asm__ volatile("int3"), SIGTRAP, SI_KERNEL);
        FAULT(__asm__ volatile("hlt"), SIGSEGV, SI_KERNEL);
    } while (!gate_is_open());
    return well();
}
