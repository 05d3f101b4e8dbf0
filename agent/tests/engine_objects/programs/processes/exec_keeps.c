/* exec keeps ids, mask, pending and ignored signals, directory, umask, niceness and alarm; handlers are gone. */
#include "program.h"
#include <sys/resource.h>

static void on_signal(int signal) {
    (void)signal;
}

static int afterwards(char **words) {
    CHECK(atoi(words[1]) == getpid() && atoi(words[2]) == getppid() && atoi(words[3]) == getpgrp());
    sigset_t mask, pending;
    CHECK(sigprocmask(SIG_BLOCK, 0, &mask) == 0 && sigpending(&pending) == 0);
    CHECK(sigismember(&mask, SIGUSR1) && !sigismember(&mask, SIGUSR2));
    CHECK(sigismember(&pending, SIGUSR1) && !sigismember(&pending, SIGUSR2));
    struct sigaction action;
    CHECK(sigaction(SIGUSR2, 0, &action) == 0 && action.sa_handler == SIG_IGN);
    CHECK(sigaction(SIGHUP, 0, &action) == 0 && action.sa_handler == SIG_DFL);
    CHECK(umask(0) == 031 && getpriority(PRIO_PROCESS, 0) == 3 && access("here", F_OK) == 0);
    CHECK(alarm(0) > 500);
    return 35;
}

int main(int count, char **words) {
    if (count > 1)
        return afterwards(words);
    CHECK(mkdir("place", 0755) == 0);
    make_file("place/here", "");
    do {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            char ids[3][12];
            CHECK(signal(SIGUSR2, SIG_IGN) != SIG_ERR && signal(SIGHUP, on_signal) != SIG_ERR);
            sigset_t mask;
            sigemptyset(&mask), sigaddset(&mask, SIGUSR1);
            CHECK(sigprocmask(SIG_BLOCK, &mask, 0) == 0 && raise(SIGUSR1) == 0 && setpgid(0, 0) == 0);
            CHECK(chdir("place") == 0 && setpriority(PRIO_PROCESS, 0, 3) == 0);
            umask(031);
            alarm(1000);
            snprintf(ids[0], 12, "%d", getpid());
            snprintf(ids[1], 12, "%d", getppid());
            snprintf(ids[2], 12, "%d", getpgrp());
            execl("/proc/self/exe", "again", ids[0], ids[1], ids[2], (char *)0);
            _exit(errno);
        }
        CHECK(exit_status_of(child) == 35);
    } while (!gate_is_open());
    return well();
}
