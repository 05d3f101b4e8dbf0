/* Timerfd rings after its time, again and again, and tells what remains. */
#include "program.h"
#include <sys/timerfd.h>

int main(void) {
    int timer = timerfd_create(CLOCK_MONOTONIC, 0), other = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
    CHECK(timer >= 0 && other >= 0);
    do {
        uint64_t rings, start = now_ns(CLOCK_MONOTONIC);
        struct itimerspec every = {{0, 5000000}, {0, 10000000}}, left, none = {0};
        CHECK(timerfd_settime(timer, 0, &every, 0) == 0);
        CHECK(read(timer, &rings, 8) == 8 && rings >= 1 && now_ns(CLOCK_MONOTONIC) - start >= 10000000);
        uint64_t more;
        CHECK(read(timer, &more, 8) == 8 && more >= 1);
        CHECK(now_ns(CLOCK_MONOTONIC) - start >= 10000000 + (rings + more - 1) * 5000000);
        CHECK(timerfd_settime(timer, 0, &none, &left) == 0 && left.it_interval.tv_nsec == 5000000);
        struct timespec now;
        CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
        struct itimerspec at = {{0}, {now.tv_sec + 100, 0}};
        CHECK(timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, 0) == 0);
        CHECK(timerfd_gettime(timer, &left) == 0 && left.it_value.tv_sec <= 100 && left.it_value.tv_sec > 50);
        CHECK(timerfd_settime(timer, 0, &none, 0) == 0 && timerfd_gettime(timer, &left) == 0);
        CHECK(left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0);
        CHECK(read(other, &rings, 8) == -1 && errno == EAGAIN && read(timer, &rings, 4) == -1);
        CHECK(errno == EINVAL);
    } while (!gate_is_open());
    return well();
}
