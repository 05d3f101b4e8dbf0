/* Sigpending tells what is blocked and waits; ignored signals do not wait. */
#include "program.h"
int main(void) {
    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGHUP);
    CHECK(sigprocmask(SIG_BLOCK, &set, 0) == 0);
    do {
        CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGUSR1) && !sigismember(&pending, SIGHUP));
        CHECK(kill(getpid(), SIGUSR1) == 0 && pthread_kill(pthread_self(), SIGHUP) == 0);
        CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) && sigismember(&pending, SIGHUP));
        // sigaction(2): to ignore a signal throws away one that waits.
        CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR && signal(SIGHUP, SIG_IGN) != SIG_ERR);
        CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGUSR1) && !sigismember(&pending, SIGHUP));
        CHECK(signal(SIGUSR1, SIG_DFL) != SIG_ERR && signal(SIGHUP, SIG_DFL) != SIG_ERR);
        sleep_ms(1);
    } while (!gate_is_open());
    return well();
}
