/* A child hears the signal that it has chosen for its parent's death, and is its subreaper's then. */
#include "program.h"
#include <sys/prctl.h>

int main(void) {
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    do {
        int told[2];
        CHECK(pipe(told) == 0);
        pid_t parent = fork();
        if (parent == 0) {
            pid_t child = fork();
            if (child == 0) {
                sigset_t set;
                int signal;
                sigemptyset(&set);
                sigaddset(&set, SIGUSR2);
                sigprocmask(SIG_BLOCK, &set, NULL);
                prctl(PR_SET_PDEATHSIG, SIGUSR2);
                write_whole(told[1], "r", 1);
                _exit(sigwait(&set, &signal) == 0 && signal == SIGUSR2 ? 5 : 6);
            }
            char ready;
            read_whole(told[0], &ready, 1);
            _exit(child > 0 ? 3 : 4);
        }
        CHECK(parent > 0 && exit_status_of(parent) == 3);
        int status;
        pid_t orphan;
        while ((orphan = wait(&status)) == -1)
            CHECK(errno == EINTR);
        CHECK(orphan != parent && WIFEXITED(status) && WEXITSTATUS(status) == 5);
        CHECK(close(told[0]) == 0 && close(told[1]) == 0);
    } while (!gate_is_open());
    return well();
}
