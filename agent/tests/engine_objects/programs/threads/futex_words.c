/* Futexes wake, are moved to another word, and wake by bits. */
#include "program.h"
#include <linux/futex.h>
#include <sys/syscall.h>

static uint32_t first, second, bits;
static volatile unsigned woken;

static long futex(uint32_t *word, int operation, uint32_t value, uintptr_t other, uint32_t *second_word, uint32_t third) {
    return syscall(SYS_futex, word, operation, value, other, second_word, third);
}

static void *waits(void *unused) {
    (void)unused;
    while (futex(&first, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0) == -1)
        CHECK(errno == EINTR);
    __atomic_add_fetch(&woken, 1, __ATOMIC_SEQ_CST);
    return 0;
}

static void *waits_for_bit(void *unused) {
    (void)unused;
    while (futex(&bits, FUTEX_WAIT_BITSET_PRIVATE, 0, 0, 0, 4) == -1)
        CHECK(errno == EINTR);
    __atomic_add_fetch(&woken, 1, __ATOMIC_SEQ_CST);
    return 0;
}

int main(void) {
    do {
        pthread_t a, b, c;
        woken = 0;
        CHECK(pthread_create(&a, 0, waits, 0) == 0 && pthread_create(&b, 0, waits, 0) == 0);
        CHECK(pthread_create(&c, 0, waits_for_bit, 0) == 0);
        CHECK(futex(&first, FUTEX_CMP_REQUEUE_PRIVATE, 0, 9, &second, 1) == -1 && errno == EAGAIN);
        CHECK(futex(&bits, FUTEX_WAKE_BITSET_PRIVATE, 9, 0, 0, 2) == 0);
        // A thread that a move has woken goes to sleep on the first word again: both are woken.
        while (__atomic_load_n(&woken, __ATOMIC_SEQ_CST) < 3) {
            CHECK(futex(&first, FUTEX_CMP_REQUEUE_PRIVATE, 1, 9, &second, 0) >= 0);
            CHECK(futex(&second, FUTEX_WAKE_PRIVATE, 9, 0, 0, 0) >= 0);
            CHECK(futex(&bits, FUTEX_WAKE_BITSET_PRIVATE, 9, 0, 0, 12) >= 0);
            usleep(500);
        }
        CHECK(pthread_join(a, 0) == 0 && pthread_join(b, 0) == 0 && pthread_join(c, 0) == 0);
        CHECK(futex(&first, FUTEX_WAKE_PRIVATE, 9, 0, 0, 0) == 0);
        CHECK(futex((uint32_t *)((char *)&first + 1), FUTEX_WAKE, 1, 0, 0, 0) == -1 && errno == EINVAL);
    } while (!gate_is_open());
    return well();
}
