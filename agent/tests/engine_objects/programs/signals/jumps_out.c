/* A handler may jump out; the mask and the registers are as they were. */
#include "program.h"
#include <setjmp.h>

static sigjmp_buf back;

static void on_signal(int signal) {
    siglongjmp(back, signal);
}

int main(void) {
    struct sigaction action = {.sa_handler = on_signal};
    CHECK(sigaction(SIGUSR1, &action, 0) == 0 && sigaction(SIGALRM, &action, 0) == 0);
    volatile uint64_t jumps = 0;
    do {
        sigset_t mask;
        volatile double kept = 1.5 + jumps;
        int signal = sigsetjmp(back, 1);
        if (signal == 0)
            CHECK(kill(getpid(), SIGUSR1) == -1);
        CHECK(signal == SIGUSR1 && kept == 1.5 + jumps);
        signal = sigsetjmp(back, 1);
        if (signal == 0) {
            struct itimerval soon = {{0, 0}, {0, 3000}};
            CHECK(setitimer(ITIMER_REAL, &soon, 0) == 0);
            while (true)
                compute(jumps, 1);
        }
        CHECK(signal == SIGALRM && sigprocmask(SIG_BLOCK, 0, &mask) == 0);
        CHECK(!sigismember(&mask, SIGUSR1) && !sigismember(&mask, SIGALRM));
        jumps++;
    } while (!gate_is_open());
    return well();
}
