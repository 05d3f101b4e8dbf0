/* Sleeps and timeouts: never too short, with the right result; clocks never go backwards. */
#include "program.h"
#include <sys/epoll.h>

#define MS 1000000ull

int main(void) {
    int quiet[2];
    CHECK(pipe(quiet) == 0);
    int epoll = epoll_create1(0);
    struct epoll_event interest = {EPOLLIN, {.u32 = 5}}, event;
    CHECK(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, quiet[0], &interest) == 0);
    uint64_t last_real = now_ns(CLOCK_REALTIME);
    do {
        uint64_t start = now_ns(CLOCK_MONOTONIC);
        struct timespec wait = {0, 60 * MS};
        CHECK(nanosleep(&wait, 0) == 0);
        uint64_t slept = now_ns(CLOCK_MONOTONIC);
        CHECK(slept - start >= 60 * MS && slept - start < 20000 * MS);
        uint64_t until = slept + 50 * MS;
        struct timespec then = {until / 1000000000u, until % 1000000000u};
        CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &then, 0) == 0);
        CHECK(now_ns(CLOCK_MONOTONIC) >= until);
        start = now_ns(CLOCK_MONOTONIC);
        struct pollfd none = {quiet[0], POLLIN, 99};
        CHECK(poll(&none, 1, 50) == 0 && none.revents == 0);
        CHECK(now_ns(CLOCK_MONOTONIC) - start >= 50 * MS);
        start = now_ns(CLOCK_MONOTONIC);
        fd_set set;
        FD_ZERO(&set);
        FD_SET(quiet[0], &set);
        struct timeval limit = {0, 40000};
        CHECK(select(quiet[0] + 1, &set, 0, 0, &limit) == 0 && !FD_ISSET(quiet[0], &set));
        CHECK(now_ns(CLOCK_MONOTONIC) - start >= 40 * MS);
        start = now_ns(CLOCK_MONOTONIC);
        CHECK(epoll_wait(epoll, &event, 1, 40) == 0);
        CHECK(now_ns(CLOCK_MONOTONIC) - start >= 39 * MS);
        start = now_ns(CLOCK_BOOTTIME);
        CHECK(usleep(20000) == 0);
        CHECK(now_ns(CLOCK_BOOTTIME) - start >= 20 * MS);
        uint64_t real = now_ns(CLOCK_REALTIME);
        CHECK(real > last_real && real - last_real < 20000 * MS);
        last_real = real;
    } while (!gate_is_open());
    CHECK(write(quiet[1], "x", 1) == 1 && epoll_wait(epoll, &event, 1, 40) == 1 && event.data.u32 == 5);
    puts("slept well");
    return 0;
}
