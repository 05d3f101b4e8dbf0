/* posix_spawn opens, copies and closes descriptors, sets group, mask and actions, and tells its failure. */
#include "program.h"
#include <spawn.h>
extern char **environ;

static int in_child(void) {
    CHECK(fcntl(0, F_GETFD) == -1 && errno == EBADF);
    CHECK(write(1, "one ", 4) == 4 && write(7, "seven", 5) == 5);
    sigset_t mask;
    CHECK(sigprocmask(SIG_BLOCK, 0, &mask) == 0 && sigismember(&mask, SIGUSR2) && !sigismember(&mask, SIGUSR1));
    struct sigaction action;
    CHECK(sigaction(SIGUSR1, 0, &action) == 0 && action.sa_handler == SIG_DFL);
    CHECK(sigaction(SIGUSR2, 0, &action) == 0 && action.sa_handler == SIG_IGN);
    CHECK(getpgrp() == getpid());
    return 39;
}

int main(int count, char **arguments) {
    (void)arguments;
    if (count > 1)
        return in_child();
    CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR && signal(SIGUSR2, SIG_IGN) != SIG_ERR);
    do {
        posix_spawn_file_actions_t files;
        posix_spawnattr_t attributes;
        CHECK(posix_spawn_file_actions_init(&files) == 0 && posix_spawnattr_init(&attributes) == 0);
        CHECK(posix_spawn_file_actions_addopen(&files, 1, "out", O_WRONLY | O_CREAT | O_TRUNC, 0600) == 0);
        CHECK(posix_spawn_file_actions_adddup2(&files, 1, 7) == 0);
        CHECK(posix_spawn_file_actions_addclose(&files, 0) == 0);
        sigset_t mask, defaults;
        sigemptyset(&mask), sigemptyset(&defaults);
        sigaddset(&mask, SIGUSR2), sigaddset(&defaults, SIGUSR1);
        CHECK(posix_spawnattr_setsigmask(&attributes, &mask) == 0);
        CHECK(posix_spawnattr_setsigdefault(&attributes, &defaults) == 0);
        CHECK(posix_spawnattr_setpgroup(&attributes, 0) == 0);
        CHECK(posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                        POSIX_SPAWN_SETPGROUP) == 0);
        char *words[] = {"spawned", "again", 0};
        pid_t child;
        CHECK(posix_spawn(&child, "/proc/self/exe", &files, &attributes, words, environ) == 0);
        CHECK(getpgid(child) == child && exit_status_of(child) == 39);
        char text[16] = {0};
        int fd = open("out", O_RDONLY);
        CHECK(fd >= 0 && read(fd, text, sizeof text) == 9 && !strcmp(text, "one seven") && close(fd) == 0);
        CHECK(posix_spawnp(&child, "no-such-command", 0, 0, words, environ) == ENOENT);
        CHECK(waitpid(-1, 0, WNOHANG) == -1 && errno == ECHILD);
        CHECK(posix_spawn_file_actions_destroy(&files) == 0 && posix_spawnattr_destroy(&attributes) == 0);
    } while (!gate_is_open());
    return well();
}
