/* Eventfd counts, waits while it is zero, and counts down as a semaphore. */
#include "program.h"
#include <sys/eventfd.h>

static int events;

static void *adder(void *unused) {
    (void)unused;
    sleep_ms(5);
    CHECK(eventfd_write(events, 7) == 0);
    return 0;
}

int main(void) {
    events = eventfd(3, EFD_CLOEXEC);
    int semaphore = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK);
    CHECK(events >= 0 && semaphore >= 0);
    eventfd_t value;
    CHECK(eventfd_read(events, &value) == 0 && value == 3);
    do {
        pthread_t thread;
        CHECK(pthread_create(&thread, 0, adder, 0) == 0);
        CHECK(eventfd_read(events, &value) == 0 && value == 7 && pthread_join(thread, 0) == 0);
        CHECK(eventfd_write(semaphore, 2) == 0);
        CHECK(eventfd_read(semaphore, &value) == 0 && value == 1);
        CHECK(eventfd_read(semaphore, &value) == 0 && value == 1);
        CHECK(eventfd_read(semaphore, &value) == -1 && errno == EAGAIN);
        CHECK(eventfd_write(semaphore, UINT64_MAX - 1) == 0);
        CHECK(eventfd_write(semaphore, 1) == -1 && errno == EAGAIN);
        CHECK(close(semaphore) == 0 && (semaphore = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK)) >= 0);
        CHECK(write(events, &value, 4) == -1 && errno == EINVAL);
    } while (!gate_is_open());
    return well();
}
