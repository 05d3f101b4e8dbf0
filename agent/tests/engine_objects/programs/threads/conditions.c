/* Condition variables wake one or all, and give up at their time by the clock that was chosen. */
#include "program.h"
enum { WAITERS = 6 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wanted, arrived = PTHREAD_COND_INITIALIZER;
static int waiting, tickets, served;

static void *wait_for_ticket(void *none) {
    CHECK(pthread_mutex_lock(&lock) == 0);
    waiting++;
    CHECK(pthread_cond_signal(&arrived) == 0);
    while (tickets == 0)
        CHECK(pthread_cond_wait(&wanted, &lock) == 0);
    tickets--;
    served++;
    CHECK(pthread_mutex_unlock(&lock) == 0);
    return none;
}

int main(void) {
    pthread_condattr_t attributes;
    CHECK(pthread_condattr_init(&attributes) == 0 && pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&wanted, &attributes) == 0);
    do {
        pthread_t threads[WAITERS];
        waiting = tickets = served = 0;
        for (int i = 0; i < WAITERS; i++)
            CHECK(pthread_create(&threads[i], 0, wait_for_ticket, 0) == 0);
        CHECK(pthread_mutex_lock(&lock) == 0);
        while (waiting < WAITERS)
            CHECK(pthread_cond_wait(&arrived, &lock) == 0);
        struct timespec until;
        CHECK(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
        uint64_t wanted_ns = until.tv_sec * 1000000000ull + until.tv_nsec + 3000000;
        until = (struct timespec){wanted_ns / 1000000000, wanted_ns % 1000000000};
        int result;
        while ((result = pthread_cond_timedwait(&wanted, &lock, &until)) == 0)
            ;
        CHECK(result == ETIMEDOUT && now_ns(CLOCK_MONOTONIC) >= wanted_ns && served == 0);
        tickets = 1;
        CHECK(pthread_cond_signal(&wanted) == 0 && pthread_mutex_unlock(&lock) == 0);
        compute(1, 5);
        CHECK(pthread_mutex_lock(&lock) == 0);
        tickets += WAITERS - 1;
        CHECK(pthread_cond_broadcast(&wanted) == 0 && pthread_mutex_unlock(&lock) == 0);
        for (int i = 0; i < WAITERS; i++)
            CHECK(pthread_join(threads[i], 0) == 0);
        CHECK(served == WAITERS && tickets == 0);
    } while (!gate_is_open());
    return well();
}
