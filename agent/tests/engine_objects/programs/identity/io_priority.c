/* The priority for input and output is what was set. */
#include "program.h"
#include <sys/syscall.h>

int main(void) {
    enum { PROCESS = 1, BEST_EFFORT = 2 << 13, IDLE = 3 << 13 };
    do {
        CHECK(syscall(SYS_ioprio_set, PROCESS, 0, BEST_EFFORT | 6) == 0);
        CHECK(syscall(SYS_ioprio_get, PROCESS, getpid()) == (BEST_EFFORT | 6));
        CHECK(syscall(SYS_ioprio_set, PROCESS, 0, IDLE) == 0 && syscall(SYS_ioprio_get, PROCESS, 0) == IDLE);
        CHECK(syscall(SYS_ioprio_set, PROCESS, 0, 5 << 13) == -1 && errno == EINVAL);
        CHECK(syscall(SYS_ioprio_set, PROCESS, 0, BEST_EFFORT | 4) == 0);
    } while (!gate_is_open());
    return well();
}
