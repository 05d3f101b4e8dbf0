/* Timer slack is a thread's own, a new thread has its maker's, and sleeps are late at most by that. */
#include "program.h"
#include <sys/prctl.h>

static void *slack_of_thread(void *unused) {
    (void)unused;
    return (void *)(intptr_t)prctl(PR_GET_TIMERSLACK);
}

int main(void) {
    CHECK(prctl(PR_SET_TIMERSLACK, 2000000) == 0);
    do {
        pthread_t other;
        void *slack;
        CHECK(pthread_create(&other, NULL, slack_of_thread, NULL) == 0 && pthread_join(other, &slack) == 0);
        CHECK((intptr_t)slack == 2000000 && prctl(PR_GET_TIMERSLACK) == 2000000);
        FILE *file = fopen("/proc/self/timerslack_ns", "r");
        unsigned long told;
        CHECK(file && fscanf(file, "%lu", &told) == 1 && told == 2000000 && fclose(file) == 0);
        uint64_t before = now_ns(CLOCK_MONOTONIC);
        sleep_ms(3);
        CHECK(now_ns(CLOCK_MONOTONIC) - before >= 3000000);
    } while (!gate_is_open());
    return well();
}
