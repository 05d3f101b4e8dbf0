/* Edge-triggered epoll tells once of each arrival. */
#include "program.h"
#include <sys/epoll.h>

int main(void) {
    int queue[2], epoll = epoll_create1(0);
    CHECK(epoll >= 0 && pipe2(queue, O_NONBLOCK) == 0);
    struct epoll_event in = {EPOLLIN | EPOLLET, {.fd = queue[0]}}, seen;
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, queue[0], &in) == 0);
    do {
        char text[8];
        for (int i = 0; i < 3; i++) {
            CHECK(write(queue[1], "x", 1) == 1);
            CHECK(epoll_wait(epoll, &seen, 1, -1) == 1 && seen.data.fd == queue[0]);
            CHECK(epoll_wait(epoll, &seen, 1, 0) == 0);
        }
        CHECK(read(queue[0], text, 1) == 1 && epoll_wait(epoll, &seen, 1, 0) == 0);
        CHECK(read(queue[0], text, 8) == 2 && read(queue[0], text, 8) == -1 && errno == EAGAIN);
        // Being modified makes it tell again.
        CHECK(write(queue[1], "x", 1) == 1 && epoll_wait(epoll, &seen, 1, -1) == 1);
        CHECK(epoll_ctl(epoll, EPOLL_CTL_MOD, queue[0], &in) == 0 && epoll_wait(epoll, &seen, 1, 0) == 1);
        CHECK(read(queue[0], text, 8) == 1);
    } while (!gate_is_open());
    return well();
}
