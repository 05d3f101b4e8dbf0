/* clone shares what its flags say: descriptors, working directory; it stores ids, and sends the wanted signal. */
#include "program.h"
#include <sched.h>
#include <sys/syscall.h>
#ifndef __WCLONE
#define __WCLONE 0x80000000
#endif
static volatile int heard;

static void on_signal(int signal) {
    heard = signal;
}

static pid_t clone_with(unsigned long flags, pid_t *parent_word, pid_t *child_word) {
    pid_t child = syscall(SYS_clone, flags, 0, parent_word, child_word, 0);
    CHECK(child >= 0);
    return child;
}

int main(void) {
    CHECK(signal(SIGUSR1, on_signal) != SIG_ERR && mkdir("deeper", 0700) == 0);
    char here[PATH_MAX], there[PATH_MAX];
    CHECK(getcwd(here, sizeof here));
    do {
        pid_t told = 0, stored = 0;
        pid_t child = clone_with(CLONE_FILES | CLONE_FS | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, &told, &stored);
        if (child == 0) {
            CHECK(stored == getpid());
            int fd = open("/dev/null", O_RDONLY);
            CHECK(dup2(fd, 77) == 77 && close(fd) == 0 && chdir("deeper") == 0);
            _exit(0);
        }
        CHECK(told == child && stored == 0 && exit_status_of(child) == 0);
        CHECK(fcntl(77, F_GETFD) == 0 && close(77) == 0);
        CHECK(getcwd(there, sizeof there) && !strncmp(there, here, strlen(here)) && !strcmp(there + strlen(here), "/deeper"));
        CHECK(chdir("..") == 0);
        /* another signal than SIGCHLD makes it a child that only __WCLONE or __WALL waits for */
        child = clone_with(SIGUSR1, 0, 0);
        if (child == 0)
            _exit(9);
        while (!heard)
            sleep_ms(1);
        CHECK(heard == SIGUSR1);
        heard = 0;
        int status;
        CHECK(waitpid(child, &status, 0) == -1 && errno == ECHILD);
        CHECK(waitpid(child, &status, __WCLONE) == child && WEXITSTATUS(status) == 9);
        child = clone_with(0, 0, 0);
        if (child == 0)
            _exit(8);
        CHECK(waitpid(child, &status, __WALL) == child && WEXITSTATUS(status) == 8);
    } while (!gate_is_open());
    return well();
}
