/* The child of vfork runs in its parent's memory, and its parent waits until it has ended or become another. */
#include "program.h"

int main(void) {
    static volatile int steps, round;
    do {
        steps = 0;
        volatile pid_t parent = getpid();
        pid_t child = vfork();
        CHECK(child >= 0);
        if (child == 0) {
            compute(1, 20);
            steps = getppid() == parent ? 10 : 0;
            _exit(4);
        }
        CHECK(steps == 10 && exit_status_of(child) == 4);
        child = vfork();
        if (child == 0) {
            steps++;
            execl("/nonexistent", "nonexistent", (char *)0);
            steps += errno;
            _exit(5);
        }
        CHECK(steps == 11 + ENOENT && exit_status_of(child) == 5);
        if (++round % 8 == 0 || gate_is_open()) {
            child = vfork();
            if (child == 0) {
                execl("/bin/sh", "sh", "-c", "exit 6", (char *)0);
                _exit(1);
            }
            CHECK(exit_status_of(child) == 6);
        }
    } while (!gate_is_open());
    return well();
}
