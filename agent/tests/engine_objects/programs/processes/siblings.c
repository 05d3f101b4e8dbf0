/* CLONE_PARENT makes a brother, whom the common parent awaits. */
#include "program.h"
#include <sched.h>
#include <sys/syscall.h>

int main(void) {
    do {
        int result[2];
        CHECK(pipe(result) == 0);
        pid_t self = getpid(), child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            pid_t brother = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
            CHECK(brother >= 0);
            if (brother == 0) {
                CHECK(getppid() == self);
                _exit(12);
            }
            CHECK(waitpid(brother, 0, 0) == -1 && errno == ECHILD);
            CHECK(write(result[1], &brother, sizeof brother) == sizeof brother);
            _exit(11);
        }
        pid_t brother;
        read_whole(result[0], &brother, sizeof brother);
        CHECK(exit_status_of(child) == 11 && exit_status_of(brother) == 12);
        CHECK(close(result[0]) == 0 && close(result[1]) == 0);
    } while (!gate_is_open());
    return well();
}
