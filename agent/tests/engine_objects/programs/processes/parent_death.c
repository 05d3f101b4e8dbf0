/* PR_SET_PDEATHSIG sends the signal that a child has asked for when its parent ends. */
#include "program.h"
#include <sys/prctl.h>

int main(void) {
    do {
        int result[2], set[2];
        CHECK(pipe(result) == 0 && pipe(set) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            pid_t grandchild = fork();
            CHECK(grandchild >= 0);
            if (grandchild == 0) {
                sigset_t wanted;
                sigemptyset(&wanted), sigaddset(&wanted, SIGUSR2);
                CHECK(sigprocmask(SIG_BLOCK, &wanted, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGUSR2) == 0);
                CHECK(write(set[1], "s", 1) == 1);
                int signal = sigwaitinfo(&wanted, 0);
                while (signal == -1 && errno == EINTR)
                    signal = sigwaitinfo(&wanted, 0);
                CHECK(write(result[1], &signal, sizeof signal) == sizeof signal);
                _exit(0);
            }
            char byte;
            read_whole(set[0], &byte, 1);
            _exit(0);
        }
        int signal;
        CHECK(exit_status_of(child) == 0);
        read_whole(result[0], &signal, sizeof signal);
        CHECK(signal == SIGUSR2);
        for (int i = 0; i < 2; i++)
            CHECK(close(result[i]) == 0 && close(set[i]) == 0);
    } while (!gate_is_open());
    return well();
}
