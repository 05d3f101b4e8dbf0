/* Process groups are joined, left and signalled, as the rules allow. */
#include "program.h"
static volatile int heard;

static void on_signal(int signal) {
    (void)signal;
    heard++;
}

static pid_t member(pid_t group) {
    int joined[2];
    CHECK(pipe(joined) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(setpgid(0, group) == 0 && write(joined[1], "j", 1) == 1);
        while (heard == 0)
            sleep_ms(1);
        _exit(30 + (getpgrp() == getpid()));
    }
    char byte;
    read_whole(joined[0], &byte, 1);
    CHECK(close(joined[0]) == 0 && close(joined[1]) == 0);
    return child;
}

int main(void) {
    CHECK(signal(SIGUSR1, on_signal) != SIG_ERR);
    do {
        heard = 0;
        pid_t own = getpgrp(), first = member(0), second = member(first);
        CHECK(getpgid(first) == first && getpgid(second) == first && getpgrp() == own);
        CHECK(waitpid(-own, 0, WNOHANG) == -1 && errno == ECHILD);
        CHECK(killpg(first, 0) == 0 && kill(-first, SIGUSR1) == 0 && heard == 0);
        int status, seen = 0;
        for (int i = 0; i < 2; i++) {
            pid_t ended = waitpid(-first, &status, 0);
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == (ended == first ? 31 : 30));
            seen += ended == first ? 1 : 2;
        }
        CHECK(seen == 3 && kill(-first, 0) == -1 && errno == ESRCH);
        CHECK(setpgid(1, 1) == -1 && errno == ESRCH);
        CHECK(setpgid(0, -1) == -1 && errno == EINVAL);
        CHECK(getpgid(0) == own);
    } while (!gate_is_open());
    return well();
}
