/* A thread runs on the CPUs that it has chosen, and on all again when it takes the choice back. */
#include "program.h"
#include <sched.h>
#include <sys/syscall.h>

static void *only_first(void *all) {
    cpu_set_t one, seen;
    int first = 0;
    while (!CPU_ISSET(first, (cpu_set_t *)all))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    CHECK(pthread_setaffinity_np(pthread_self(), sizeof one, &one) == 0);
    for (int i = 0; i < 20; i++) {
        unsigned cpu, node;
        compute(1, 10);
        CHECK(pthread_getaffinity_np(pthread_self(), sizeof seen, &seen) == 0 && CPU_EQUAL(&one, &seen));
        CHECK(sched_getcpu() == first && syscall(SYS_getcpu, &cpu, &node, NULL) == 0 && (int)cpu == first);
    }
    return NULL;
}

int main(void) {
    cpu_set_t all, seen, none;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0 && CPU_COUNT(&all) > 0);
    CPU_ZERO(&none);
    do {
        pthread_t other;
        CHECK(pthread_create(&other, NULL, only_first, &all) == 0);
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (!CPU_ISSET(cpu, &all))
                continue;
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
            compute(1, 50);
            CHECK(sched_getaffinity(getpid(), sizeof seen, &seen) == 0 && CPU_EQUAL(&one, &seen));
            CHECK(sched_getcpu() == cpu);
        }
        CHECK(sched_setaffinity(0, sizeof none, &none) == -1 && errno == EINVAL);
        CHECK(sched_getaffinity(0, 1, &seen) == -1 && errno == EINVAL);
        CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
        CHECK(sched_getaffinity(0, sizeof seen, &seen) == 0 && CPU_EQUAL(&all, &seen));
        CHECK(pthread_join(other, NULL) == 0);
    } while (!gate_is_open());
    return well();
}
