/* futex_waitv waits for several words at once; the newer calls wake, wait and move waiters. */
#include "program.h"
#include <linux/futex.h>
#include <sys/syscall.h>
static uint32_t words[3];

static void *wake(void *which) {
    sleep_ms(2);
    uint32_t *word = &words[(intptr_t)which];
    __atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
    CHECK(syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0) >= 0);
    return 0;
}

int main(void) {
    intptr_t round = 0;
    do {
        struct futex_waitv all[3];
        for (int i = 0; i < 3; i++) {
            words[i] = 0;
            all[i] = (struct futex_waitv){.val = 0, .uaddr = (uintptr_t)&words[i], .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG};
        }
        pthread_t waker;
        intptr_t which = round++ % 3;
        CHECK(pthread_create(&waker, 0, wake, (void *)which) == 0);
        while (__atomic_load_n(&words[which], __ATOMIC_SEQ_CST) == 0) {
            long index = syscall(SYS_futex_waitv, all, 3, 0, 0, 0);
            CHECK(index == which || errno == EAGAIN || errno == EINTR || errno == ENOSYS);
        }
        CHECK(pthread_join(waker, 0) == 0);
        struct timespec past = {0, 1};
        words[which] = 0;
        CHECK(syscall(SYS_futex_waitv, all, 3, 0, &past, CLOCK_MONOTONIC) == -1 && (errno == ETIMEDOUT || errno == ENOSYS));
    } while (!gate_is_open());
    return well();
}
