/* Threads that only spin, on locks and on words, get on with each other. */
#include "program.h"
static pthread_spinlock_t lock;
static volatile unsigned turn;
static unsigned long sum;

static void *spin(void *number) {
    for (unsigned i = 0; i < 100; i++) {
        while (turn % 2 != (unsigned)(intptr_t)number)
            sched_yield();
        CHECK(pthread_spin_lock(&lock) == 0);
        sum += i;
        CHECK(pthread_spin_unlock(&lock) == 0);
        __atomic_fetch_add(&turn, 1, __ATOMIC_SEQ_CST);
    }
    return 0;
}

int main(void) {
    CHECK(pthread_spin_init(&lock, PTHREAD_PROCESS_PRIVATE) == 0);
    do {
        pthread_t threads[2];
        turn = 0;
        sum = 0;
        for (intptr_t i = 0; i < 2; i++)
            CHECK(pthread_create(&threads[i], 0, spin, (void *)i) == 0);
        for (int i = 0; i < 2; i++)
            CHECK(pthread_join(threads[i], 0) == 0);
        CHECK(sum == 2 * 4950);
    } while (!gate_is_open());
    return well();
}
