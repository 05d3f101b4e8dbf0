/* The policies for ordinary threads are set, asked for and inherited. */
#include "program.h"
#include <sched.h>
#include <sys/syscall.h>

struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static void *policy_of_thread(void *unused) {
    (void)unused;
    return (void *)(intptr_t)sched_getscheduler(0);
}

static int policy_of_new_thread(void) {
    pthread_t thread;
    void *policy;
    CHECK(pthread_create(&thread, NULL, policy_of_thread, NULL) == 0 && pthread_join(thread, &policy) == 0);
    return (int)(intptr_t)policy;
}

int main(void) {
    struct sched_param param = {0};
    do {
        CHECK(sched_setscheduler(0, SCHED_BATCH, &param) == 0 && sched_getscheduler(0) == SCHED_BATCH);
        CHECK(policy_of_new_thread() == SCHED_BATCH);
        CHECK(sched_setscheduler(0, SCHED_IDLE | SCHED_RESET_ON_FORK, &param) == 0);
        CHECK(sched_getscheduler(0) == (SCHED_IDLE | SCHED_RESET_ON_FORK) && policy_of_new_thread() == SCHED_IDLE);
        CHECK(sched_setscheduler(getpid(), SCHED_OTHER, &param) == 0 && sched_getscheduler(0) == SCHED_OTHER);
        CHECK(sched_setparam(0, &param) == 0 && sched_getparam(0, &param) == 0 && param.sched_priority == 0);
        struct attributes wanted = {.size = sizeof wanted, .policy = SCHED_BATCH, .nice = 4}, seen = {0};
        CHECK(syscall(SYS_sched_setattr, 0, &wanted, 0) == 0);
        CHECK(syscall(SYS_sched_getattr, 0, &seen, sizeof seen, 0) == 0);
        CHECK(seen.policy == SCHED_BATCH && seen.nice == 4 && seen.size == sizeof seen);
        wanted.size = 20;
        CHECK(syscall(SYS_sched_setattr, 0, &wanted, 0) == -1 && errno == E2BIG && wanted.size >= 48);
        param.sched_priority = 5;
        CHECK(sched_setscheduler(0, SCHED_OTHER, &param) == -1 && errno == EINVAL);
        param.sched_priority = 0;
        CHECK(sched_get_priority_max(SCHED_FIFO) == 99 && sched_get_priority_min(SCHED_OTHER) == 0);
        CHECK(sched_setscheduler(0, SCHED_OTHER, &param) == 0);
    } while (!gate_is_open());
    return well();
}
