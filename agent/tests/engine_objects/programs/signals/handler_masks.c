/* A handler's mask holds while it runs, and what it blocked comes after it. */
#include "program.h"
static volatile int depth, deepest, order[8], count;

static void on_signal(int signal) {
    depth++;
    if (depth > deepest)
        deepest = depth;
    if (count < 2)
        CHECK(kill(getpid(), SIGUSR2) == 0 && kill(getpid(), SIGUSR1) == 0);
    order[count++] = signal;
    sigset_t mask;
    CHECK(sigprocmask(SIG_BLOCK, 0, &mask) == 0 && sigismember(&mask, signal) == 1);
    depth--;
}

static void on_open(int signal) {
    depth++;
    if (depth > deepest)
        deepest = depth;
    if (depth < 3)
        CHECK(kill(getpid(), signal) == 0);
    depth--;
}

int main(void) {
    do {
        struct sigaction action = {.sa_handler = on_signal};
        sigaddset(&action.sa_mask, SIGUSR2);
        CHECK(sigaction(SIGUSR1, &action, 0) == 0);
        sigaddset(&action.sa_mask, SIGUSR1);
        CHECK(sigaction(SIGUSR2, &action, 0) == 0);
        count = deepest = 0;
        CHECK(kill(getpid(), SIGUSR1) == 0);
        // Each sends both; a signal that is pending already is not doubled.
        CHECK(deepest == 1 && count >= 3 && order[0] == SIGUSR1);
        struct sigaction open = {.sa_handler = on_open, .sa_flags = SA_NODEFER};
        CHECK(sigaction(SIGUSR1, &open, 0) == 0);
        deepest = 0;
        CHECK(kill(getpid(), SIGUSR1) == 0 && deepest == 3);
    } while (!gate_is_open());
    return well();
}
