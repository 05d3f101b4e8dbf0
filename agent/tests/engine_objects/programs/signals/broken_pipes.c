/* Writing to what nobody reads raises SIGPIPE, unless it is ignored. */
#include "program.h"
static volatile int heard;

static void on_pipe(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    CHECK(info->si_code == SI_USER && info->si_pid == getpid());
    heard++;
}

int main(void) {
    do {
        int queue[2];
        struct sigaction action = {.sa_sigaction = on_pipe, .sa_flags = SA_SIGINFO};
        CHECK(pipe(queue) == 0 && close(queue[0]) == 0 && sigaction(SIGPIPE, &action, 0) == 0);
        heard = 0;
        CHECK(write(queue[1], "x", 1) == -1 && errno == EPIPE && heard == 1);
        CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
        CHECK(write(queue[1], "x", 1) == -1 && errno == EPIPE && heard == 1 && close(queue[1]) == 0);
    } while (!gate_is_open());
    return well();
}
