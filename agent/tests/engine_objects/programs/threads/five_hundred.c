/* Five hundred threads at once. */
#include "program.h"
enum { THREADS = 500 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned waiting, sum;
static bool is_open;

static void *work(void *argument) {
    pthread_mutex_lock(&lock);
    waiting++;
    pthread_cond_broadcast(&changed);
    while (!is_open)
        pthread_cond_wait(&changed, &lock);
    sum += (uintptr_t)argument;
    pthread_mutex_unlock(&lock);
    return argument;
}

int main(void) {
    static pthread_t threads[THREADS];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], &attributes, work, (void *)i) == 0);
    do
        sleep_ms(2);
    while (!gate_is_open());
    pthread_mutex_lock(&lock);
    while (waiting < THREADS)
        pthread_cond_wait(&changed, &lock);
    is_open = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    for (uintptr_t i = 0; i < THREADS; i++) {
        void *result;
        CHECK(pthread_join(threads[i], &result) == 0 && (uintptr_t)result == i);
    }
    CHECK(sum == THREADS * (THREADS - 1) / 2);
    return well();
}
