/* Many read, one writes, nobody sees half of it. */
#include "program.h"
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static volatile uint64_t left, right;
static volatile bool stop;

static void *reader(void *unused) {
    (void)unused;
    while (!stop) {
        pthread_rwlock_rdlock(&lock);
        uint64_t a = left;
        compute(a, 1);
        CHECK(right == a);
        pthread_rwlock_unlock(&lock);
    }
    return 0;
}

int main(void) {
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], 0, reader, 0) == 0);
    do {
        for (int i = 0; i < 20; i++) {
            pthread_rwlock_wrlock(&lock);
            left++;
            compute(left, 1);
            right++;
            pthread_rwlock_unlock(&lock);
        }
        CHECK(pthread_rwlock_tryrdlock(&lock) == 0 && pthread_rwlock_trywrlock(&lock) == EBUSY);
        CHECK(pthread_rwlock_unlock(&lock) == 0);
        sleep_ms(1);
    } while (!gate_is_open());
    stop = true;
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], 0) == 0);
    return well();
}
