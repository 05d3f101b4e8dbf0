/* Who has used up the CPU time that RLIMIT_CPU allows hears SIGXCPU. */
#include "program.h"
#include <sys/resource.h>

static volatile sig_atomic_t code = -1;

static void on_limit(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    code = info->si_code;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_limit, .sa_flags = SA_SIGINFO};
    struct rlimit limit = {1, RLIM_INFINITY};
    CHECK(sigaction(SIGXCPU, &action, NULL) == 0 && setrlimit(RLIMIT_CPU, &limit) == 0);
    while (code == -1)
        compute(1, 1000);
    CHECK(code == SI_KERNEL && getrlimit(RLIMIT_CPU, &limit) == 0 && limit.rlim_max == RLIM_INFINITY);
    limit.rlim_cur = RLIM_INFINITY;
    CHECK(setrlimit(RLIMIT_CPU, &limit) == 0);
    while (!gate_is_open())
        compute(1, 100);
    return well();
}
