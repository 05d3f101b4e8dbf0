/* What a timer's signal blocks while its handler runs is pending, and the timer's count of overruns stands still. */
#include "program.h"
static timer_t timer;
static volatile int heard;

static void on_timer(int signal, siginfo_t *info, void *context) {
    (void)context;
    CHECK(info->si_code == SI_TIMER && info->si_value.sival_int == 5 && info->si_overrun >= 0);
    int overruns = timer_getoverrun(timer);
    CHECK(overruns >= 0);
    sigset_t pending;
    sleep_ms(1);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, signal) == 1);
    CHECK(timer_getoverrun(timer) == overruns);
    struct itimerspec never = {0};
    if (++heard == 3)
        CHECK(timer_settime(timer, 0, &never, 0) == 0);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGRTMIN, &action, 0) == 0);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 5};
    do {
        CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
        struct itimerspec often = {{0, 100000}, {0, 100000}};
        heard = 0;
        CHECK(timer_settime(timer, 0, &often, 0) == 0);
        while (heard < 3)
            ;
        CHECK(timer_delete(timer) == 0);
    } while (!gate_is_open());
    return well();
}
