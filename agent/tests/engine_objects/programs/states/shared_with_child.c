/* A process that shares memory with its child stays, and so does the child, until one has let go of it. */
#include "program.h"
#include <sched.h>

int main(void) {
    volatile int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    pid_t child = fork();
    if (child == 0) {
        *shared = 22;
        while (*shared != 23)
            sched_yield();
        _exit(24);
    }
    while (*shared != 22)
        sched_yield();
    stay();
    *shared = 23;
    CHECK(exit_status_of(child) == 24 && *shared == 23);
    be_free();
    return well();
}
