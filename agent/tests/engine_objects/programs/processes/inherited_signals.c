/* A child has its parent's handlers and mask, and neither its pending signals nor its timers. */
#include "program.h"
static volatile int heard;

static void on_signal(int signal) {
    heard += signal;
}

int main(void) {
    CHECK(signal(SIGUSR1, on_signal) != SIG_ERR && signal(SIGUSR2, on_signal) != SIG_ERR);
    do {
        heard = 0;
        sigset_t mask, none;
        sigemptyset(&mask), sigemptyset(&none), sigaddset(&mask, SIGUSR1);
        CHECK(sigprocmask(SIG_SETMASK, &mask, 0) == 0 && raise(SIGUSR1) == 0);
        struct itimerval timer = {.it_value = {100, 0}}, left;
        CHECK(setitimer(ITIMER_REAL, &timer, 0) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            sigset_t now;
            CHECK(sigpending(&now) == 0 && !sigismember(&now, SIGUSR1));
            CHECK(sigprocmask(SIG_BLOCK, 0, &now) == 0 && sigismember(&now, SIGUSR1));
            CHECK(getitimer(ITIMER_REAL, &left) == 0 && left.it_value.tv_sec == 0);
            CHECK(raise(SIGUSR1) == 0 && heard == 0 && raise(SIGUSR2) == 0 && heard == SIGUSR2);
            CHECK(sigprocmask(SIG_SETMASK, &none, 0) == 0 && heard == SIGUSR2 + SIGUSR1);
            _exit(24);
        }
        CHECK(exit_status_of(child) == 24 && heard == 0);
        CHECK(sigprocmask(SIG_SETMASK, &none, 0) == 0 && heard == SIGUSR1);
        CHECK(getitimer(ITIMER_REAL, &left) == 0 && left.it_value.tv_sec > 0);
        timer.it_value.tv_sec = 0;
        CHECK(setitimer(ITIMER_REAL, &timer, 0) == 0);
    } while (!gate_is_open());
    return well();
}
