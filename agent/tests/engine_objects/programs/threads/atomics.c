/* Atomic counters and spin locks lose nothing. */
#include "program.h"
static uint64_t counter, guarded;
static pthread_spinlock_t lock;
static volatile bool stop;

static void *work(void *count) {
    while (!stop) {
        __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED);
        pthread_spin_lock(&lock);
        guarded++;
        pthread_spin_unlock(&lock);
        ++*(uint64_t *)count;
        if (*(uint64_t *)count % 1000 == 0)
            usleep(500);
    }
    return 0;
}

int main(void) {
    pthread_t threads[2];
    uint64_t counts[2] = {0};
    pthread_spin_init(&lock, PTHREAD_PROCESS_PRIVATE);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], 0, work, &counts[i]) == 0);
    do
        sleep_ms(2);
    while (!gate_is_open());
    stop = true;
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], 0) == 0);
    CHECK(counter == counts[0] + counts[1] && guarded == counter);
    return well();
}
