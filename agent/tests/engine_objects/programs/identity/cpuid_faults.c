/* CPUID faults where the CPU can do that and the program has asked for it, and not elsewhere. */
#include "program.h"
#include <asm/prctl.h>
#include <cpuid.h>
#include <setjmp.h>
#include <sys/syscall.h>

static sigjmp_buf before;

static void on_fault(int signal) { siglongjmp(before, signal); }

static bool faults(void) {
    unsigned a, b, c, d;
    if (sigsetjmp(before, 1))
        return true;
    __cpuid(0, a, b, c, d);
    return a == 0;
}

int main(void) {
    struct sigaction action = {.sa_handler = on_fault};
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0 && !faults());
    bool can = syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) == 0;
    CHECK(can || errno == ENODEV);
    do
        CHECK(faults() == can && syscall(SYS_arch_prctl, ARCH_GET_CPUID, 0) == !can);
    while (!gate_is_open());
    return well();
}
