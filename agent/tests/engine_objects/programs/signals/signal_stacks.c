/* Faults that the program handles, on an alternate stack, with fault address and registers. */
#include "program.h"
#include <setjmp.h>
#include <ucontext.h>

static sigjmp_buf back;
static char *trap_page;
static char stack[64 << 10];
static volatile int faults;

static void on_fault(int signal, siginfo_t *info, void *context) {
    char here;
    CHECK(&here >= stack && &here < stack + sizeof stack);
    ucontext_t *user = context;
    if (signal == SIGSEGV) {
        CHECK(info->si_addr == trap_page + 123 && info->si_code == SEGV_ACCERR);
        CHECK(user->uc_mcontext.gregs[REG_RIP] != 0);
    } else {
        CHECK(signal == SIGFPE && info->si_code == FPE_INTDIV);
    }
    faults++;
    siglongjmp(back, signal);
}

int main(void) {
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    CHECK(sigaltstack(&alternate, 0) == 0);
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGUSR1);
    CHECK(sigaction(SIGSEGV, &action, 0) == 0 && sigaction(SIGFPE, &action, 0) == 0);
    trap_page = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    volatile int zero = 0;
    do {
        int signal = sigsetjmp(back, 1);
        if (signal == 0)
            trap_page[123] = 1;
        CHECK(signal == SIGSEGV);
        signal = sigsetjmp(back, 1);
        if (signal == 0)
            zero = 5 / zero;
        CHECK(signal == SIGFPE);
        sigset_t mask;
        CHECK(sigprocmask(SIG_BLOCK, 0, &mask) == 0 && !sigismember(&mask, SIGUSR1));
        CHECK(sigaltstack(0, &alternate) == 0 && alternate.ss_sp == stack);
        compute(1, 50);
    } while (!gate_is_open());
    CHECK(faults >= 2);
    puts("faults handled");
    return 0;
}
