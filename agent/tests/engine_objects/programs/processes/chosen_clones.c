/* clone3 gives a process descriptor, and clears signal handlers if it is told to. */
#include "program.h"
#include <linux/sched.h>
#include <sys/syscall.h>

static void on_signal(int signal) {
    (void)signal;
}

int main(void) {
    CHECK(signal(SIGUSR1, on_signal) != SIG_ERR);
    do {
        int fd = -1;
        struct clone_args arguments = {
            .flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND, .pidfd = (uint64_t)&fd, .exit_signal = SIGCHLD};
        pid_t child = syscall(SYS_clone3, &arguments, sizeof arguments);
        CHECK(child >= 0);
        if (child == 0) {
            struct sigaction action;
            CHECK(sigaction(SIGUSR1, 0, &action) == 0 && action.sa_handler == SIG_DFL);
            _exit(21);
        }
        struct pollfd polled = {fd, POLLIN, 0};
        CHECK(fd >= 0 && poll(&polled, 1, 10000) == 1 && close(fd) == 0);
        CHECK(exit_status_of(child) == 21);
        struct clone_args bad = {.flags = CLONE_THREAD};
        CHECK(syscall(SYS_clone3, &bad, sizeof bad) == -1 && errno == EINVAL);
    } while (!gate_is_open());
    return well();
}
