/* Interval timers: SIGALRM while computing and while asleep; setitimer says what remains. */
#include "program.h"

static volatile unsigned alarms;

static void on_alarm(int signal) {
    (void)signal;
    alarms++;
}

int main(void) {
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGALRM, &action, 0) == 0);
    struct itimerval every = {{0, 20000}, {0, 20000}}, none = {{0, 0}, {0, 0}}, old;
    do {
        alarms = 0;
        CHECK(setitimer(ITIMER_REAL, &every, 0) == 0);
        while (alarms < 2)
            compute(1, 5);
        while (alarms < 4)
            pause();
        CHECK(setitimer(ITIMER_REAL, &none, &old) == 0 && old.it_interval.tv_usec == 20000);
        struct itimerval later = {{0, 0}, {50, 0}};
        CHECK(setitimer(ITIMER_REAL, &later, 0) == 0 && getitimer(ITIMER_REAL, &old) == 0);
        CHECK(old.it_value.tv_sec >= 20 && old.it_value.tv_sec <= 50);
        CHECK(alarm(0) > 20);
    } while (!gate_is_open());
    puts("alarms heard");
    return 0;
}
