/* Whoever locks a robust mutex after its owner's death learns of it. */
#include "program.h"
static pthread_mutex_t lock;

static void *dies(void *unused) {
    (void)unused;
    CHECK(pthread_mutex_lock(&lock) == 0);
    compute(1, 10);
    return 0;
}

static void *waits(void *unused) {
    (void)unused;
    CHECK(pthread_mutex_lock(&lock) == EOWNERDEAD && pthread_mutex_consistent(&lock) == 0);
    CHECK(pthread_mutex_unlock(&lock) == 0);
    return 0;
}

int main(void) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    do {
        pthread_t a, b;
        CHECK(pthread_mutex_init(&lock, &attributes) == 0);
        CHECK(pthread_create(&a, 0, dies, 0) == 0 && pthread_join(a, 0) == 0);
        CHECK(pthread_create(&b, 0, waits, 0) == 0 && pthread_join(b, 0) == 0);
        CHECK(pthread_create(&a, 0, dies, 0) == 0 && pthread_join(a, 0) == 0);
        CHECK(pthread_mutex_lock(&lock) == EOWNERDEAD && pthread_mutex_unlock(&lock) == 0);
        CHECK(pthread_mutex_lock(&lock) == ENOTRECOVERABLE && pthread_mutex_destroy(&lock) == 0);
    } while (!gate_is_open());
    return well();
}
