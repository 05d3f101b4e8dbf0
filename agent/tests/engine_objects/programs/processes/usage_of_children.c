/* What children have used is counted once they are awaited. */
#include "program.h"
#include <sys/resource.h>
#include <sys/times.h>

static uint64_t used_us(struct rusage usage) {
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000ull + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

int main(void) {
    do {
        struct rusage before, after, own;
        struct tms times_before, times_after;
        CHECK(getrusage(RUSAGE_CHILDREN, &before) == 0 && times(&times_before) != -1);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            compute(1, 300);
            _exit(0);
        }
        int status;
        CHECK(wait4(child, &status, 0, &own) == child && status == 0);
        CHECK(getrusage(RUSAGE_CHILDREN, &after) == 0 && times(&times_after) != -1);
        CHECK(used_us(after) >= used_us(before) + used_us(own));
        CHECK(times_after.tms_cutime >= times_before.tms_cutime);
    } while (!gate_is_open());
    return well();
}
