/* A subreaper becomes the parent of its descendants' orphans, and awaits them. */
#include "program.h"
#include <sys/prctl.h>

int main(void) {
    do {
        CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
        int is_subreaper = 0;
        CHECK(prctl(PR_GET_CHILD_SUBREAPER, &is_subreaper, 0, 0, 0) == 0 && is_subreaper == 1);
        pid_t self = getpid(), child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            pid_t middle = getpid(), orphan = fork();
            CHECK(orphan >= 0);
            if (orphan == 0) {
                while (getppid() == middle)
                    sleep_ms(1);
                _exit(getppid() == self ? 50 : 51);
            }
            _exit(0);
        }
        CHECK(exit_status_of(child) == 0);
        int status;
        pid_t orphan = wait(&status);
        CHECK(orphan > 0 && orphan != child && WEXITSTATUS(status) == 50);
        CHECK(prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0);
    } while (!gate_is_open());
    return well();
}
