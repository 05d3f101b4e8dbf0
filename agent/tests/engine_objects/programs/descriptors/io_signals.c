/* A descriptor that becomes readable sends the signal that was asked for. */
#include "program.h"
static volatile int signals, from;

static void on_signal(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    signals++;
    from = info->si_fd;
    if (info->si_code != POLL_IN)
        from = -1;
}

int main(void) {
    int queue[2];
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    CHECK(sigaction(SIGRTMIN, &action, 0) == 0 && pipe(queue) == 0);
    CHECK(fcntl(queue[0], F_SETSIG, SIGRTMIN) == 0 && fcntl(queue[0], F_GETSIG) == SIGRTMIN);
    CHECK(fcntl(queue[0], F_SETOWN, getpid()) == 0 && fcntl(queue[0], F_GETOWN) == getpid());
    CHECK(fcntl(queue[0], F_SETFL, O_ASYNC | O_NONBLOCK) == 0);
    do {
        char text[4];
        signals = 0;
        CHECK(write(queue[1], "x", 1) == 1);
        while (signals < 1)
            sleep_ms(1);
        CHECK(signals == 1 && from == queue[0] && read(queue[0], text, 4) == 1);
        struct f_owner_ex owner;
        CHECK(fcntl(queue[0], F_GETOWN_EX, &owner) == 0 && owner.type == F_OWNER_PID && owner.pid == getpid());
    } while (!gate_is_open());
    return well();
}
