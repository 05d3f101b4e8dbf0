/* Ignored signals interrupt nothing. */
#include "program.h"
int main(void) {
    int queue[2];
    CHECK(pipe(queue) == 0 && signal(SIGALRM, SIG_IGN) != SIG_ERR && signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    do {
        struct itimerval every = {{0, 1000}, {0, 1000}}, none = {{0, 0}, {0, 0}};
        CHECK(setitimer(ITIMER_REAL, &every, 0) == 0);
        struct pollfd wanted = {queue[0], POLLIN, 0};
        uint64_t start = now_ns(CLOCK_MONOTONIC);
        CHECK(poll(&wanted, 1, 10) == 0 && now_ns(CLOCK_MONOTONIC) - start >= 10000000);
        struct timespec wait = {0, 10000000};
        CHECK(nanosleep(&wait, 0) == 0 && kill(getpid(), SIGUSR1) == 0);
        CHECK(setitimer(ITIMER_REAL, &none, 0) == 0);
    } while (!gate_is_open());
    return well();
}
