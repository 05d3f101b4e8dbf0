/* Signals that are pending while blocked, to the process and to one thread, wherever it goes meanwhile. */
#include "program.h"

static volatile unsigned users, reals, threads_own;

static void on_signal(int signal) {
    if (signal == SIGUSR1)
        users++;
    else if (signal == SIGUSR2)
        threads_own++;
    else
        reals++;
}

int main(void) {
    struct sigaction action = {.sa_handler = on_signal};
    CHECK(sigaction(SIGUSR1, &action, 0) == 0 && sigaction(SIGUSR2, &action, 0) == 0);
    CHECK(sigaction(SIGRTMIN, &action, 0) == 0);
    sigset_t blocked, before, pending;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigaddset(&blocked, SIGUSR2);
    sigaddset(&blocked, SIGRTMIN);
    do {
        users = reals = threads_own = 0;
        CHECK(sigprocmask(SIG_BLOCK, &blocked, &before) == 0);
        for (int i = 0; i < 3; i++) {
            CHECK(kill(getpid(), SIGUSR1) == 0);
            CHECK(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i}) == 0);
        }
        CHECK(raise(SIGUSR2) == 0);
        compute(1, 3000);
        CHECK(sigpending(&pending) == 0);
        CHECK(sigismember(&pending, SIGUSR1) && sigismember(&pending, SIGRTMIN));
        CHECK(sigismember(&pending, SIGUSR2));
        CHECK(users == 0 && reals == 0 && threads_own == 0);
        CHECK(sigprocmask(SIG_SETMASK, &before, 0) == 0);
        CHECK(users == 1);
        CHECK(reals == 3);
        CHECK(threads_own == 1);
        CHECK(sigprocmask(SIG_BLOCK, &blocked, &before) == 0 && raise(SIGUSR1) == 0);
        sigset_t wait = before;
        sigdelset(&wait, SIGUSR1);
        CHECK(sigsuspend(&wait) == -1 && errno == EINTR && users == 2);
        CHECK(sigprocmask(SIG_SETMASK, &before, 0) == 0);
        signal(SIGUSR1, SIG_IGN);
        CHECK(raise(SIGUSR1) == 0 && users == 2);
        CHECK(sigaction(SIGUSR1, &action, 0) == 0);
    } while (!gate_is_open());
    puts("pending signals kept");
    return 0;
}
