/* Mutexes with priority inheritance, whose words hold thread ids. */
#include "program.h"
static pthread_mutex_t lock;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static uint64_t counter;
static unsigned turn, stop;

static void *work(void *argument) {
    uintptr_t me = (uintptr_t)argument;
    CHECK(pthread_mutex_lock(&lock) == 0);
    while (!stop) {
        if (turn % 3 == me) {
            turn++;
            counter++;
            pthread_cond_broadcast(&turned);
            CHECK(pthread_mutex_unlock(&lock) == 0);
            compute(me, 2);
            CHECK(pthread_mutex_lock(&lock) == 0);
        } else {
            CHECK(pthread_cond_wait(&turned, &lock) == 0);
        }
    }
    CHECK(pthread_mutex_unlock(&lock) == 0);
    return 0;
}

int main(void) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    CHECK(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT) == 0);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    CHECK(pthread_mutex_init(&lock, &attributes) == 0);
    pthread_t threads[3];
    for (uintptr_t i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], 0, work, (void *)i) == 0);
    do {
        CHECK(pthread_mutex_lock(&lock) == 0);
        CHECK(pthread_mutex_lock(&lock) == EDEADLK && pthread_mutex_unlock(&lock) == 0);
        sleep_ms(1);
    } while (!gate_is_open() || counter < 30);
    CHECK(pthread_mutex_lock(&lock) == 0);
    stop = 1;
    pthread_cond_broadcast(&turned);
    CHECK(pthread_mutex_unlock(&lock) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], 0) == 0);
    CHECK(counter == turn);
    return well();
}
