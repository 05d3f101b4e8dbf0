/* wait4 and waitid find who was asked for, wait or do not, and leave or take what they find. */
#include "program.h"
#include <sys/resource.h>

static pid_t ends_with(int status) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(status);
    return child;
}

int main(void) {
    do {
        int status, gate[2];
        CHECK(pipe(gate) == 0);
        pid_t waiting = fork();
        CHECK(waiting >= 0);
        if (waiting == 0) {
            char byte;
            CHECK(close(gate[1]) == 0 && read(gate[0], &byte, 1) == 0);
            _exit(1);
        }
        pid_t second = ends_with(2);
        CHECK(waitpid(waiting, &status, WNOHANG) == 0);
        CHECK(waitpid(-1, &status, 0) == second && WEXITSTATUS(status) == 2);
        CHECK(waitpid(-1, &status, WNOHANG) == 0 && waitpid(0, &status, WNOHANG) == 0);
        pid_t third = ends_with(3);
        siginfo_t info = {0};
        CHECK(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) == 0 && info.si_pid == third);
        info.si_pid = 0;
        CHECK(waitid(P_PGID, getpgrp(), &info, WEXITED | WNOHANG) == 0);
        CHECK(info.si_pid == third && info.si_status == 3 && info.si_code == CLD_EXITED && info.si_signo == SIGCHLD);
        CHECK(waitid(P_PID, waiting, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0);
        CHECK(close(gate[0]) == 0 && close(gate[1]) == 0);
        struct rusage usage = {.ru_maxrss = -1};
        CHECK(wait4(-getpgrp(), &status, 0, &usage) == waiting && WEXITSTATUS(status) == 1 && usage.ru_maxrss >= 0);
        CHECK(wait(&status) == -1 && errno == ECHILD);
        CHECK(waitpid(1, &status, 0) == -1 && errno == ECHILD);
        CHECK(waitid(P_ALL, 0, &info, 0) == -1 && errno == EINVAL);
    } while (!gate_is_open());
    return well();
}
