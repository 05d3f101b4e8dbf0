/* One thread takes the signals that all others block. */
#include "program.h"
static sigset_t set;
static volatile int taken;

static void *taker(void *unused) {
    (void)unused;
    int signal;
    do {
        CHECK(sigwait(&set, &signal) == 0);
        taken += signal == SIGUSR1;
    } while (signal != SIGTERM);
    return 0;
}

int main(void) {
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, 0) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, 0, taker, 0) == 0);
    int sent = 0;
    do {
        CHECK(kill(getpid(), SIGUSR1) == 0);
        sent++;
        while (taken < sent)
            sleep_ms(1);
    } while (!gate_is_open());
    CHECK(kill(getpid(), SIGTERM) == 0 && pthread_join(thread, 0) == 0 && taken == sent);
    return well();
}
