/* Niceness is each thread's own, and can be asked for and set by thread, group and user. */
#include "program.h"
#include <sys/resource.h>
#include <sys/syscall.h>

static void *be_nice(void *tid_out) {
    pid_t tid = (pid_t)syscall(SYS_gettid);
    CHECK(setpriority(PRIO_PROCESS, tid, 15) == 0 && getpriority(PRIO_PROCESS, 0) == 15);
    *(pid_t *)tid_out = tid;
    return NULL;
}

int main(void) {
    do {
        for (int nice = 19; nice >= -5; nice -= 6) {
            CHECK(setpriority(PRIO_PROCESS, 0, nice) == 0 && getpriority(PRIO_PROCESS, getpid()) == nice);
            CHECK(getpriority(PRIO_PGRP, 0) <= nice);
        }
        CHECK(setpriority(PRIO_PGRP, 0, 3) == 0 && getpriority(PRIO_PROCESS, 0) == 3);
        errno = 0;
        CHECK(nice(2) == 5 && errno == 0 && getpriority(PRIO_PROCESS, 0) == 5);
        pthread_t other;
        pid_t tid = 0;
        CHECK(pthread_create(&other, NULL, be_nice, &tid) == 0 && pthread_join(other, NULL) == 0);
        CHECK(getpriority(PRIO_PROCESS, 0) == 5);
        errno = 0;
        CHECK(setpriority(PRIO_PROCESS, -1, 0) == -1 && errno == ESRCH && getpriority(77, 0) == -1 && errno == EINVAL);
        CHECK(setpriority(PRIO_PROCESS, 0, 100) == 0 && getpriority(PRIO_PROCESS, 0) == 19);
    } while (!gate_is_open());
    return well();
}
