/* A new session has a new group and no terminal; a leader of a group cannot make one. */
#include "program.h"

int main(void) {
    do {
        pid_t session = getsid(0), child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            CHECK(getsid(0) == session && getpgrp() != getpid());
            CHECK(setsid() == getpid() && getsid(0) == getpid() && getpgrp() == getpid());
            CHECK(setsid() == -1 && errno == EPERM);
            CHECK(open("/dev/tty", O_RDWR) == -1 && errno == ENXIO);
            pid_t grandchild = fork();
            CHECK(grandchild >= 0);
            if (grandchild == 0) {
                CHECK(getsid(0) == getppid() && setpgid(0, 0) == 0);
                _exit(getsid(0) == getppid() ? 14 : 0);
            }
            CHECK(setpgid(0, 0) == -1 && errno == EPERM);
            _exit(exit_status_of(grandchild));
        }
        CHECK(exit_status_of(child) == 14 && getsid(child) == -1 && errno == ESRCH);
    } while (!gate_is_open());
    return well();
}
