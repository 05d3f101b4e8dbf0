/* Two processes in one memory, which are no threads of one another, stay until one of them ends. */
#include "program.h"
#include <sched.h>

static volatile int word;

static int other(void *unused) {
    (void)unused;
    word = 31;
    while (word != 32)
        sched_yield();
    return 33;
}

int main(void) {
    static char stack[1 << 16] __attribute__((aligned(16)));
    pid_t child = clone(other, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
    CHECK(child > 0);
    while (word != 31)
        sched_yield();
    stay();
    word = 32;
    CHECK(exit_status_of(child) == 33);
    be_free();
    return well();
}
