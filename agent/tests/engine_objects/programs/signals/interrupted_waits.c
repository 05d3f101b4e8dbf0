/* Waiting calls are interrupted by handlers, whatever SA_RESTART says. */
#include "program.h"
#include <sys/epoll.h>

static volatile int heard;

static void on_alarm(int signal) {
    (void)signal;
    heard++;
}

static void ring_soon(void) {
    // Again and again: the first may come before the wait begins.
    struct itimerval soon = {{0, 4000}, {0, 4000}};
    heard = 0;
    CHECK(setitimer(ITIMER_REAL, &soon, 0) == 0);
}

int main(void) {
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGALRM, &action, 0) == 0);
    int queue[2], epoll = epoll_create1(0);
    CHECK(pipe(queue) == 0);
    struct epoll_event event = {EPOLLIN, {0}};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, queue[0], &event) == 0);
    do {
        struct pollfd wanted = {queue[0], POLLIN, 0};
        ring_soon();
        CHECK(poll(&wanted, 1, -1) == -1 && errno == EINTR && heard >= 1);
        ring_soon();
        CHECK(epoll_wait(epoll, &event, 1, -1) == -1 && errno == EINTR && heard >= 1);
        fd_set set;
        FD_ZERO(&set);
        FD_SET(queue[0], &set);
        ring_soon();
        CHECK(select(queue[0] + 1, &set, 0, 0, 0) == -1 && errno == EINTR && heard >= 1);
        ring_soon();
        CHECK(pause() == -1 && errno == EINTR && heard >= 1);
        struct timespec wait = {100, 0}, left = {0};
        ring_soon();
        CHECK(nanosleep(&wait, &left) == -1 && errno == EINTR && heard >= 1);
        // With the timer's slack (prctl(2), PR_SET_TIMERSLACK) it can be more than was asked for.
        CHECK(left.tv_sec <= 100 && left.tv_sec >= 50);
        ring_soon();
        left.tv_sec = 0;
        CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, &left) == EINTR && left.tv_sec >= 50);
        struct itimerval none = {{0, 0}, {0, 0}};
        CHECK(setitimer(ITIMER_REAL, &none, 0) == 0);
    } while (!gate_is_open());
    return well();
}
