/* setuid(3) of one thread is all threads': each makes the call, and none is asked by a signal that shows. */
#include "program.h"
#include <sched.h>
#include <stdatomic.h>

static const uid_t user = 34567;
static atomic_int turn;

static void *observe(void *unused) {
    (void)unused;
    for (int round = 1; round <= 20; round++) {
        while (turn < round)
            sched_yield();
        CHECK(geteuid() == (round % 2 ? user : 0));
        turn = -round;
        while (turn == -round)
            sched_yield();
    }
    return NULL;
}

int main(void) {
    do {
        pthread_t other;
        turn = 0;
        CHECK(pthread_create(&other, NULL, observe, NULL) == 0);
        for (int round = 1; round <= 20; round++) {
            CHECK(seteuid(round % 2 ? user : 0) == 0);
            turn = round;
            while (turn == round)
                sched_yield();
            turn = 0;
        }
        turn = 21;
        CHECK(pthread_join(other, NULL) == 0);
    } while (!gate_is_open());
    return well();
}
