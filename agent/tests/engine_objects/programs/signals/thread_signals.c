/* Signals to one thread are heard by that thread. */
#include "program.h"
#include <sys/syscall.h>

enum { THREADS = 4 };
static volatile int heard[THREADS], stop;
static __thread int me = -1;
static volatile pid_t ids[THREADS];

static void on_signal(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    CHECK(me >= 0 && info->si_code == SI_TKILL && info->si_pid == getpid());
    heard[me]++;
}

static void *work(void *argument) {
    me = (int)(intptr_t)argument;
    ids[me] = gettid();
    while (!stop)
        me % 2 ? (void)compute(me, 1) : (void)usleep(1000);
    return 0;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    CHECK(sigaction(SIGUSR1, &action, 0) == 0);
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], 0, work, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        while (!ids[i])
            sleep_ms(1);
    for (int sent = 1;; sent++) {
        for (int i = 0; i < THREADS; i++) {
            CHECK(i < 2 ? pthread_kill(threads[i], SIGUSR1) == 0 : syscall(SYS_tgkill, getpid(), ids[i], SIGUSR1) == 0);
            while (heard[i] < sent)
                sleep_ms(1);
            CHECK(heard[i] == sent);
        }
        if (gate_is_open())
            break;
    }
    stop = 1;
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], 0) == 0);
    return well();
}
