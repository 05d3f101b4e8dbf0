/* A handler may change the registers with which its program goes on. */
#include "program.h"
#include <ucontext.h>

static void on_fault(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    ucontext_t *user = context;
    // ud2 has two bytes.
    user->uc_mcontext.gregs[REG_RIP] += 2;
    user->uc_mcontext.gregs[REG_RAX] += 5;
    sigaddset(&user->uc_sigmask, SIGUSR2);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGILL, &action, 0) == 0);
    do {
        uint64_t value = 37;
        __asm__ volatile("ud2" : "+a"(value));
        sigset_t mask;
        CHECK(value == 42 && sigprocmask(SIG_BLOCK, 0, &mask) == 0 && sigismember(&mask, SIGUSR2));
        sigemptyset(&mask);
        CHECK(sigprocmask(SIG_SETMASK, &mask, 0) == 0);
    } while (!gate_is_open());
    return well();
}
