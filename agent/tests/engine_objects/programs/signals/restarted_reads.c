/* With SA_RESTART a blocked read goes on after the handler, without it ends. */
#include "program.h"
static volatile int heard;
static int queue[2];

static void on_alarm(int signal) {
    (void)signal;
    if (++heard == 3)
        CHECK(write(queue[1], "x", 1) == 1);
}

int main(void) {
    CHECK(pipe(queue) == 0);
    do {
        char text[4];
        struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
        struct itimerval every = {{0, 3000}, {0, 3000}}, none = {{0, 0}, {0, 0}};
        heard = 0;
        CHECK(sigaction(SIGALRM, &action, 0) == 0 && setitimer(ITIMER_REAL, &every, 0) == 0);
        CHECK(read(queue[0], text, 4) == 1 && heard >= 3);
        CHECK(setitimer(ITIMER_REAL, &none, 0) == 0);
        action.sa_flags = 0;
        heard = -1000;
        CHECK(sigaction(SIGALRM, &action, 0) == 0);
        CHECK(setitimer(ITIMER_REAL, &every, 0) == 0);
        CHECK(read(queue[0], text, 4) == -1 && errno == EINTR && heard >= -999);
        CHECK(setitimer(ITIMER_REAL, &none, 0) == 0);
    } while (!gate_is_open());
    return well();
}
