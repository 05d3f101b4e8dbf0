/* Four threads computing, sharing mutexes and condition variables, with thread-local data. */
#include "program.h"

enum { THREADS = 4 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static unsigned turn, stop;
static uint64_t counter;
static __thread uint64_t own;

static void *work(void *argument) {
    unsigned me = (unsigned)(uintptr_t)argument;
    for (uint64_t round = 0;; round++) {
        uint64_t expected = compute(me, 20);
        for (int i = 0; i < 10; i++) {
            CHECK(compute(me, 20) == expected);
            pthread_mutex_lock(&lock);
            counter++;
            pthread_mutex_unlock(&lock);
            own++;
        }
        CHECK(own == (round + 1) * 10);
        pthread_mutex_lock(&lock);
        while (turn % THREADS != me)
            pthread_cond_wait(&turned, &lock);
        turn++;
        pthread_cond_broadcast(&turned);
        pthread_mutex_unlock(&lock);
        pthread_barrier_wait(&barrier);
        if (me == 0) {
            CHECK(counter == (round + 1) * 10 * THREADS);
            stop = gate_is_open();
        }
        pthread_barrier_wait(&barrier);
        if (stop)
            return (void *)(uintptr_t)(me + 100);
    }
}

int main(void) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, 0, THREADS);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], 0, work, (void *)i) == 0);
    for (uintptr_t i = 0; i < THREADS; i++) {
        void *result;
        CHECK(pthread_join(threads[i], &result) == 0 && (uintptr_t)result == i + 100);
    }
    puts("threads agree");
    return 0;
}
