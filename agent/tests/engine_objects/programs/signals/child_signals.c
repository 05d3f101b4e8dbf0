/* SIGCHLD tells how a child ended, stopped and went on. */
#include "program.h"
static siginfo_t seen;
static volatile int count;

static void on_child(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    seen = *info;
    count++;
}

static void await(pid_t child, int code, int status) {
    while (count == 0)
        sleep_ms(1);
    CHECK(seen.si_pid == child && seen.si_code == code && seen.si_status == status && seen.si_uid == getuid());
    count = 0;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART};
    CHECK(sigaction(SIGCHLD, &action, 0) == 0);
    do {
        pid_t child = fork();
        if (child == 0) {
            signal(SIGCHLD, SIG_DFL);
            while (true)
                pause();
        }
        CHECK(kill(child, SIGSTOP) == 0);
        await(child, CLD_STOPPED, SIGSTOP);
        CHECK(kill(child, SIGCONT) == 0);
        await(child, CLD_CONTINUED, SIGCONT);
        CHECK(kill(child, SIGTERM) == 0);
        await(child, CLD_KILLED, SIGTERM);
        int status;
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
        child = fork();
        if (child == 0)
            _exit(42);
        await(child, CLD_EXITED, 42);
        CHECK(exit_status_of(child) == 42);
    } while (!gate_is_open());
    return well();
}
