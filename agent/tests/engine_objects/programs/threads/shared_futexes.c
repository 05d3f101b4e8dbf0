/* Futexes that other processes could share work between threads. */
#include "program.h"
#include <linux/futex.h>
#include <sys/syscall.h>

static uint32_t turn;

static void await_turn(uint32_t wanted) {
    for (uint32_t now; (now = __atomic_load_n(&turn, __ATOMIC_SEQ_CST)) != wanted;)
        CHECK(syscall(SYS_futex, &turn, FUTEX_WAIT, now, 0, 0, 0) == 0 || errno == EAGAIN || errno == EINTR);
}

static void hand_on(uint32_t next) {
    __atomic_store_n(&turn, next, __ATOMIC_SEQ_CST);
    CHECK(syscall(SYS_futex, &turn, FUTEX_WAKE, 10, 0, 0, 0) >= 0);
}

static void *other(void *unused) {
    (void)unused;
    for (uint32_t i = 0; i < 20; i++) {
        await_turn(2 * i + 1);
        hand_on(2 * i + 2);
    }
    return 0;
}

int main(void) {
    do {
        pthread_t thread;
        turn = 0;
        CHECK(pthread_create(&thread, 0, other, 0) == 0);
        for (uint32_t i = 0; i < 20; i++) {
            await_turn(2 * i);
            hand_on(2 * i + 1);
        }
        CHECK(pthread_join(thread, 0) == 0);
    } while (!gate_is_open());
    return well();
}
