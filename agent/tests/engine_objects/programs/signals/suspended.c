/* Sigsuspend waits with another mask, and restores the first. */
#include "program.h"
static volatile int heard;

static void on_signal(int signal) {
    heard = signal;
}

int main(void) {
    struct sigaction action = {.sa_handler = on_signal};
    CHECK(sigaction(SIGUSR1, &action, 0) == 0 && sigaction(SIGALRM, &action, 0) == 0);
    sigset_t both, none, now;
    sigemptyset(&none);
    sigemptyset(&both);
    sigaddset(&both, SIGUSR1);
    sigaddset(&both, SIGALRM);
    CHECK(sigprocmask(SIG_BLOCK, &both, 0) == 0);
    do {
        heard = 0;
        CHECK(kill(getpid(), SIGUSR1) == 0 && heard == 0);
        CHECK(sigsuspend(&none) == -1 && errno == EINTR && heard == SIGUSR1);
        struct itimerval soon = {{0, 0}, {0, 4000}};
        CHECK(setitimer(ITIMER_REAL, &soon, 0) == 0 && sigsuspend(&none) == -1 && heard == SIGALRM);
        CHECK(sigprocmask(SIG_BLOCK, 0, &now) == 0 && sigismember(&now, SIGUSR1) && sigismember(&now, SIGALRM));
    } while (!gate_is_open());
    return well();
}
