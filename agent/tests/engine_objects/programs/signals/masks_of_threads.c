/* A thread begins with its maker's mask and changes its own. */
#include "program.h"
static void *work(void *unused) {
    (void)unused;
    sigset_t mask;
    CHECK(pthread_sigmask(SIG_BLOCK, 0, &mask) == 0 && sigismember(&mask, SIGUSR1) && !sigismember(&mask, SIGUSR2));
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    CHECK(pthread_sigmask(SIG_SETMASK, &mask, 0) == 0);
    compute(1, 20);
    CHECK(pthread_sigmask(SIG_BLOCK, 0, &mask) == 0 && !sigismember(&mask, SIGUSR1) && sigismember(&mask, SIGUSR2));
    return 0;
}

int main(void) {
    sigset_t set, mask;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, 0) == 0);
    do {
        pthread_t thread;
        CHECK(pthread_create(&thread, 0, work, 0) == 0 && pthread_join(thread, 0) == 0);
        CHECK(pthread_sigmask(SIG_BLOCK, 0, &mask) == 0 && sigismember(&mask, SIGUSR1) && !sigismember(&mask, SIGUSR2));
    } while (!gate_is_open());
    return well();
}
