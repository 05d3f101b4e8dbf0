/* Level-triggered epoll tells of readiness as long as it lasts. */
#include "program.h"
#include <sys/epoll.h>

int main(void) {
    int queue[2], empty[2], epoll = epoll_create1(EPOLL_CLOEXEC);
    CHECK(epoll >= 0 && pipe(queue) == 0 && pipe(empty) == 0);
    struct epoll_event in = {EPOLLIN, {.u64 = 0x1234567890}}, out = {EPOLLOUT, {.u64 = 2}}, seen[4];
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, queue[0], &in) == 0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, queue[0], &in) == -1 && errno == EEXIST);
    do {
        char one;
        CHECK(epoll_wait(epoll, seen, 4, 0) == 0 && write(queue[1], "x", 1) == 1);
        for (int i = 0; i < 3; i++)
            CHECK(epoll_wait(epoll, seen, 4, -1) == 1 && seen[0].data.u64 == 0x1234567890);
        CHECK(seen[0].events == EPOLLIN && epoll_ctl(epoll, EPOLL_CTL_ADD, empty[1], &out) == 0);
        CHECK(epoll_wait(epoll, seen, 4, -1) == 2 && epoll_wait(epoll, seen, 1, -1) == 1);
        CHECK(read(queue[0], &one, 1) == 1 && epoll_wait(epoll, seen, 4, -1) == 1);
        CHECK(seen[0].data.u64 == 2 && seen[0].events == EPOLLOUT);
        CHECK(epoll_ctl(epoll, EPOLL_CTL_DEL, empty[1], 0) == 0);
        CHECK(epoll_ctl(epoll, EPOLL_CTL_MOD, empty[1], &out) == -1 && errno == ENOENT);
        CHECK(epoll_wait(epoll, seen, 4, 0) == 0 && epoll_wait(epoll, seen, 0, 0) == -1);
    } while (!gate_is_open());
    CHECK(close(queue[1]) == 0 && epoll_wait(epoll, seen, 4, -1) == 1 && seen[0].events == EPOLLHUP);
    return well();
}
