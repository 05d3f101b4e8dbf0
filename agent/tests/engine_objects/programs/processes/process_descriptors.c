/* A process descriptor becomes readable when its process ends, carries signals, and is waited for. */
#include "program.h"
#include <sys/syscall.h>
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

int main(void) {
    do {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            while (true)
                pause();
        int fd = syscall(SYS_pidfd_open, child, 0);
        CHECK(fd >= 0);
        struct pollfd polled = {fd, POLLIN, 0};
        CHECK(poll(&polled, 1, 5) == 0);
        CHECK(syscall(SYS_pidfd_send_signal, fd, 0, 0, 0) == 0);
        CHECK(syscall(SYS_pidfd_send_signal, fd, SIGINT, 0, 0) == 0);
        CHECK(poll(&polled, 1, 10000) == 1 && polled.revents == POLLIN);
        siginfo_t info = {0};
        CHECK(waitid(P_PIDFD, fd, &info, WEXITED) == 0);
        CHECK(info.si_pid == child && info.si_code == CLD_KILLED && info.si_status == SIGINT);
        CHECK(syscall(SYS_pidfd_send_signal, fd, 0, 0, 0) == -1 && errno == ESRCH);
        CHECK(close(fd) == 0);
    } while (!gate_is_open());
    return well();
}
