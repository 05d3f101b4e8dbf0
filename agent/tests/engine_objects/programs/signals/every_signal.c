/* Each of the 64 signals that can be handled tells its sender. */
#include "program.h"
static volatile int last, sender, code;

static void on_signal(int signal, siginfo_t *info, void *context) {
    (void)context;
    last = signal, sender = info->si_pid, code = info->si_code;
    CHECK(info->si_signo == signal && info->si_uid == getuid());
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    // glibc keeps the first two real-time signals for itself.
    for (int signal = 1; signal <= 64; signal++)
        if (signal != SIGKILL && signal != SIGSTOP && signal != 32 && signal != 33)
            CHECK(sigaction(signal, &action, 0) == 0);
    CHECK(sigaction(SIGKILL, &action, 0) == -1 && errno == EINVAL && kill(getpid(), 65) == -1 && errno == EINVAL);
    do {
        for (int signal = 1; signal <= 64; signal++) {
            if (signal == SIGKILL || signal == SIGSTOP || signal == 32 || signal == 33)
                continue;
            last = sender = 0, code = 99;
            CHECK(kill(getpid(), signal) == 0);
            CHECK(last == signal && sender == getpid() && code == SI_USER);
        }
    } while (!gate_is_open());
    return well();
}
