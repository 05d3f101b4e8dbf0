/* Real-time signals queue and come lowest first; others do not queue. */
#include "program.h"
static int heard[16], values[16];
static volatile int count;

static void on_signal(int signal, siginfo_t *info, void *context) {
    (void)context;
    heard[count] = signal, values[count] = info->si_value.sival_int;
    count++;
}

int main(void) {
    sigset_t all, before;
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    // The handlers must not interrupt each other.
    sigfillset(&action.sa_mask);
    sigfillset(&all);
    for (int i = 0; i < 3; i++)
        CHECK(sigaction(SIGRTMIN + i, &action, 0) == 0);
    CHECK(sigaction(SIGUSR2, &action, 0) == 0);
    do {
        count = 0;
        CHECK(sigprocmask(SIG_BLOCK, &all, &before) == 0);
        for (int i = 0; i < 3; i++)
            for (int signal = SIGRTMIN + 2; signal >= SIGRTMIN; signal--)
                CHECK(sigqueue(getpid(), signal, (union sigval){.sival_int = i}) == 0);
        CHECK(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 7}) == 0);
        CHECK(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 8}) == 0);
        CHECK(sigprocmask(SIG_SETMASK, &before, 0) == 0 && count == 10);
        CHECK(heard[0] == SIGUSR2 && values[0] == 7);
        for (int i = 0; i < 9; i++)
            CHECK(heard[i + 1] == SIGRTMIN + i / 3 && values[i + 1] == i % 3);
    } while (!gate_is_open());
    return well();
}
