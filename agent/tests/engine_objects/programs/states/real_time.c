/* A process with a real-time policy stays until it has an ordinary one. */
#include "program.h"
#include <sched.h>

int main(void) {
    struct sched_param param = {.sched_priority = 1};
    CHECK(sched_setscheduler(0, SCHED_RR, &param) == 0 && sched_getscheduler(0) == SCHED_RR);
    say_ready();
    /* Not to take the CPU from all others. */
    while (!gate_is_open())
        sleep_ms(2);
    param.sched_priority = 0;
    CHECK(sched_setscheduler(0, SCHED_OTHER, &param) == 0 && sched_getscheduler(0) == SCHED_OTHER);
    be_free();
    return well();
}
