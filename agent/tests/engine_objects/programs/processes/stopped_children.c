/* A parent that asks is told when its children stop and go on. */
#include "program.h"

int main(void) {
    do {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            while (true)
                compute(1, 1);
        int status;
        /* in a group of its own, whose parent is in the session: SIGTSTP stops no orphaned group */
        CHECK(setpgid(child, child) == 0 && kill(child, SIGSTOP) == 0);
        CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
        CHECK(waitpid(child, &status, WUNTRACED | WNOHANG) == 0);
        CHECK(kill(child, SIGCONT) == 0);
        CHECK(waitpid(child, &status, WCONTINUED) == child && WIFCONTINUED(status));
        CHECK(kill(child, SIGTSTP) == 0);
        siginfo_t info;
        CHECK(waitid(P_PID, child, &info, WSTOPPED | WNOWAIT) == 0);
        CHECK(info.si_pid == child && info.si_code == CLD_STOPPED && info.si_status == SIGTSTP);
        CHECK(waitid(P_PID, child, &info, WSTOPPED) == 0 && kill(child, SIGCONT) == 0);
        CHECK(waitid(P_PID, child, &info, WCONTINUED) == 0 && info.si_code == CLD_CONTINUED && info.si_status == SIGCONT);
        CHECK(kill(child, SIGSTOP) == 0 && waitpid(child, &status, WUNTRACED) == child);
        CHECK(kill(child, SIGKILL) == 0);
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    } while (!gate_is_open());
    return well();
}
