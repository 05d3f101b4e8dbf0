/* A timer's signal goes to the thread that it names, or starts a thread, or nothing. */
#include "program.h"
#include <sys/syscall.h>

static volatile int heard_by, notified;

static void on_ring(int signal) {
    (void)signal;
    heard_by = gettid();
}

static void notify(union sigval value) {
    notified = value.sival_int;
}

static void *waiter(void *unused) {
    (void)unused;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 3};
    event._sigev_un._tid = gettid();
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    struct itimerspec soon = {{0}, {0, 2000000}};
    heard_by = 0;
    CHECK(timer_settime(timer, 0, &soon, 0) == 0);
    while (!heard_by)
        usleep(1000);
    CHECK(heard_by == gettid() && timer_delete(timer) == 0);
    return 0;
}

int main(void) {
    struct sigaction action = {.sa_handler = on_ring, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGRTMIN + 3, &action, 0) == 0);
    struct sigevent none = {.sigev_notify = SIGEV_NONE}, thread = {.sigev_notify = SIGEV_THREAD};
    thread.sigev_notify_function = notify;
    thread.sigev_value.sival_int = 5;
    timer_t silent, threaded;
    CHECK(timer_create(CLOCK_REALTIME, &none, &silent) == 0 && timer_create(CLOCK_MONOTONIC, &thread, &threaded) == 0);
    do {
        pthread_t waiting;
        struct itimerspec soon = {{0}, {0, 2000000}}, left;
        notified = 0;
        CHECK(timer_settime(silent, 0, &soon, 0) == 0 && timer_settime(threaded, 0, &soon, 0) == 0);
        CHECK(pthread_create(&waiting, 0, waiter, 0) == 0 && pthread_join(waiting, 0) == 0);
        while (notified != 5)
            sleep_ms(1);
        do
            CHECK(timer_gettime(silent, &left) == 0);
        while (left.it_value.tv_nsec != 0);
    } while (!gate_is_open());
    return well();
}
