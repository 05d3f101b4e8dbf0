/* A handler that runs once (SA_RESETHAND): afterwards the signal has its default action, for signals and for faults; and a
   handler that may interrupt itself (SA_NODEFER). */
#include "program.h"
#include <setjmp.h>

static volatile unsigned runs, depth, deepest;
static sigjmp_buf back;

static void once(int signal) {
    struct sigaction now;
    CHECK(sigaction(signal, 0, &now) == 0 && now.sa_handler == SIG_DFL);
    runs++;
}

static void nested(int signal) {
    depth++;
    if (depth > deepest)
        deepest = depth;
    if (depth < 4)
        CHECK(raise(signal) == 0);
    depth--;
}

static void on_fault(int signal) {
    (void)signal;
    runs++;
    siglongjmp(back, 1);
}

int main(void) {
    do {
        runs = deepest = 0;
        struct sigaction action = {.sa_handler = once, .sa_flags = SA_RESETHAND};
        CHECK(sigaction(SIGURG, &action, 0) == 0 && sigaction(SIGWINCH, &action, 0) == 0);
        CHECK(raise(SIGURG) == 0 && runs == 1);
        CHECK(raise(SIGURG) == 0 && runs == 1);
        compute(1, 20);
        CHECK(kill(getpid(), SIGWINCH) == 0 && runs == 2);
        CHECK(kill(getpid(), SIGWINCH) == 0 && runs == 2);
        action.sa_handler = on_fault;
        CHECK(sigaction(SIGSEGV, &action, 0) == 0);
        if (sigsetjmp(back, 1) == 0)
            *(volatile int *)8 = 1;
        CHECK(runs == 3 && sigaction(SIGSEGV, 0, &action) == 0 && action.sa_handler == SIG_DFL);
        action = (struct sigaction){.sa_handler = nested, .sa_flags = SA_NODEFER};
        CHECK(sigaction(SIGUSR1, &action, 0) == 0 && raise(SIGUSR1) == 0);
        CHECK(deepest == 4 && depth == 0);
    } while (!gate_is_open());
    struct sigaction action = {.sa_handler = once, .sa_flags = SA_RESETHAND};
    CHECK(sigaction(SIGTERM, &action, 0) == 0);
    runs = 0;
    CHECK(raise(SIGTERM) == 0 && runs == 1);
    puts("the last signal ends it");
    fflush(stdout);
    raise(SIGTERM);
    return 1;
}
