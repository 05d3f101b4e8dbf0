/* One-shot epoll is silent until it is armed again; epolls nest; timeouts in nanoseconds. */
#include "program.h"
#include <sys/epoll.h>
#include <sys/syscall.h>

int main(void) {
    int queue[2], inner = epoll_create1(0), outer = epoll_create1(0);
    CHECK(inner >= 0 && outer >= 0 && pipe(queue) == 0);
    struct epoll_event once = {EPOLLIN | EPOLLONESHOT, {.u32 = 1}}, nested = {EPOLLIN, {.u32 = 2}}, seen;
    CHECK(epoll_ctl(inner, EPOLL_CTL_ADD, queue[0], &once) == 0);
    CHECK(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &nested) == 0);
    CHECK(epoll_ctl(inner, EPOLL_CTL_ADD, inner, &nested) == -1 && errno == EINVAL);
    do {
        char text[4];
        CHECK(write(queue[1], "x", 1) == 1);
        CHECK(epoll_wait(outer, &seen, 1, -1) == 1 && seen.data.u32 == 2);
        CHECK(epoll_wait(inner, &seen, 1, -1) == 1 && seen.data.u32 == 1);
        CHECK(epoll_wait(inner, &seen, 1, 0) == 0 && epoll_wait(outer, &seen, 1, 0) == 0);
        CHECK(epoll_ctl(inner, EPOLL_CTL_MOD, queue[0], &once) == 0);
        CHECK(epoll_wait(inner, &seen, 1, -1) == 1 && read(queue[0], text, 4) == 1);
        CHECK(epoll_ctl(inner, EPOLL_CTL_MOD, queue[0], &once) == 0);
        uint64_t start = now_ns(CLOCK_MONOTONIC);
        struct timespec limit = {0, 3000000};
        CHECK(syscall(SYS_epoll_pwait2, outer, &seen, 1, &limit, 0, 0) == 0);
        CHECK(now_ns(CLOCK_MONOTONIC) - start >= 3000000);
    } while (!gate_is_open());
    return well();
}
