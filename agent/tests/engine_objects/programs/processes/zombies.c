/* Who has ended and was not awaited is still there, and nothing but a name. */
#include "program.h"

static char state_of(pid_t pid) {
    char path[64], text[512] = {0};
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    CHECK(read(fd, text, sizeof text - 1) > 0 && close(fd) == 0);
    return strrchr(text, ')')[2];
}

int main(void) {
    do {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            _exit(61);
        siginfo_t info;
        for (int i = 0; i < 2; i++)
            CHECK(waitid(P_PID, child, &info, WEXITED | WNOWAIT) == 0 && info.si_status == 61);
        CHECK(state_of(child) == 'Z');
        CHECK(kill(child, 0) == 0 && kill(child, SIGKILL) == 0 && getpgid(child) == getpgrp());
        compute(1, 20);
        CHECK(exit_status_of(child) == 61);
        CHECK(kill(child, 0) == -1 && errno == ESRCH && state_of(child) == 0);
    } while (!gate_is_open());
    return well();
}
