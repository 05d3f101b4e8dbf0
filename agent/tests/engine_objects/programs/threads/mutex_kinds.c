/* Mutexes that count, that check, that give up in time. */
#include "program.h"
int main(void) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutex_t counting, checking, plain = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&counting, &attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&checking, &attributes);
    do {
        for (int i = 0; i < 3; i++)
            CHECK(pthread_mutex_lock(&counting) == 0);
        compute(1, 20);
        for (int i = 0; i < 3; i++)
            CHECK(pthread_mutex_unlock(&counting) == 0);
        CHECK(pthread_mutex_unlock(&counting) == EPERM);
        CHECK(pthread_mutex_lock(&checking) == 0 && pthread_mutex_lock(&checking) == EDEADLK);
        CHECK(pthread_mutex_unlock(&checking) == 0 && pthread_mutex_unlock(&checking) == EPERM);
        CHECK(pthread_mutex_lock(&plain) == 0 && pthread_mutex_trylock(&plain) == EBUSY);
        struct timespec until;
        CHECK(clock_gettime(CLOCK_REALTIME, &until) == 0);
        until.tv_nsec += 3000000;
        if (until.tv_nsec >= 1000000000)
            until.tv_sec++, until.tv_nsec -= 1000000000;
        CHECK(pthread_mutex_timedlock(&plain, &until) == ETIMEDOUT && pthread_mutex_unlock(&plain) == 0);
    } while (!gate_is_open());
    return well();
}
