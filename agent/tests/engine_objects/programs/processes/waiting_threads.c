/* Threads wait for children of their own, each for its own, and for those of other threads. */
#include "program.h"
#ifndef __WNOTHREAD
#define __WNOTHREAD 0x20000000
#endif

static void *wait_for_own(void *number) {
    int wanted = (int)(intptr_t)number, status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        compute(wanted, 10);
        _exit(wanted);
    }
    CHECK(waitpid(-1, &status, __WNOTHREAD) == child && WEXITSTATUS(status) == wanted);
    CHECK(waitpid(-1, &status, __WNOTHREAD) == -1 && errno == ECHILD);
    return 0;
}

int main(void) {
    do {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            while (true)
                pause();
        pthread_t threads[4];
        for (intptr_t i = 0; i < 4; i++)
            CHECK(pthread_create(&threads[i], 0, wait_for_own, (void *)(80 + i)) == 0);
        for (int i = 0; i < 4; i++)
            CHECK(pthread_join(threads[i], 0) == 0);
        int status;
        CHECK(kill(child, SIGKILL) == 0 && waitpid(-1, &status, __WNOTHREAD) == child);
    } while (!gate_is_open());
    return well();
}
