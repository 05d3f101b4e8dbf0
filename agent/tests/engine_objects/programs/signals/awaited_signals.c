/* Sigtimedwait takes a pending signal, waits for one, and gives up in time. */
#include "program.h"
int main(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 4);
    sigaddset(&set, SIGALRM);
    CHECK(sigprocmask(SIG_BLOCK, &set, 0) == 0);
    do {
        siginfo_t info;
        CHECK(sigqueue(getpid(), SIGRTMIN + 4, (union sigval){.sival_int = 31}) == 0 && kill(getpid(), SIGUSR1) == 0);
        CHECK(sigwaitinfo(&set, &info) == SIGUSR1 && info.si_code == SI_USER && info.si_pid == getpid());
        CHECK(sigwaitinfo(&set, &info) == SIGRTMIN + 4 && info.si_code == SI_QUEUE && info.si_value.sival_int == 31);
        uint64_t start = now_ns(CLOCK_MONOTONIC);
        struct timespec limit = {0, 5000000};
        CHECK(sigtimedwait(&set, &info, &limit) == -1 && errno == EAGAIN);
        CHECK(now_ns(CLOCK_MONOTONIC) - start >= 5000000);
        struct itimerval soon = {{0, 0}, {0, 4000}};
        CHECK(setitimer(ITIMER_REAL, &soon, 0) == 0);
        limit.tv_sec = 100;
        CHECK(sigtimedwait(&set, &info, &limit) == SIGALRM && info.si_code == SI_KERNEL);
        int signal;
        CHECK(kill(getpid(), SIGUSR1) == 0 && sigwait(&set, &signal) == 0 && signal == SIGUSR1);
    } while (!gate_is_open());
    return well();
}
