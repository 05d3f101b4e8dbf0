/* A shell's work: jobs in groups of their own, in the terminal's foreground and background. */
#include "program.h"
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <utmp.h>

static void await_stop(pid_t job, int signal) {
    int status;
    CHECK(waitpid(job, &status, WUNTRACED) == job && WIFSTOPPED(status) && WSTOPSIG(status) == signal);
}

static int shell(void) {
    CHECK(signal(SIGTTOU, SIG_IGN) != SIG_ERR && tcgetpgrp(0) == getpid());
    pid_t job = fork();
    CHECK(job >= 0);
    if (job == 0) {
        CHECK(setpgid(0, 0) == 0 && signal(SIGTTOU, SIG_DFL) != SIG_ERR);
        char byte;
        CHECK(read(0, &byte, 1) == 1 && byte == 'x');
        CHECK(tcgetpgrp(0) == getpgrp() && write(1, "!", 1) == 1);
        while (true)
            pause();
    }
    await_stop(job, SIGTTIN);
    CHECK(tcsetpgrp(0, job) == 0 && kill(-job, SIGCONT) == 0 && write(1, "in", 2) == 2);
    await_stop(job, SIGTSTP);
    CHECK(tcsetpgrp(0, getpid()) == 0 && kill(-job, SIGCONT) == 0 && tcsetpgrp(0, job) == 0);
    CHECK(write(1, "fg", 2) == 2);
    int status;
    CHECK(waitpid(job, &status, 0) == job && WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    return 26;
}

int main(void) {
    do {
        int terminal, slave;
        CHECK(openpty(&terminal, &slave, 0, 0, 0) == 0);
        struct termios settings;
        CHECK(tcgetattr(slave, &settings) == 0);
        settings.c_lflag &= ~(ICANON | ECHO);
        settings.c_oflag = 0;
        CHECK(tcsetattr(slave, TCSANOW, &settings) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            int errors = dup(2);
            CHECK(close(terminal) == 0 && login_tty(slave) == 0 && dup2(errors, 2) == 2);
            _exit(shell());
        }
        CHECK(close(slave) == 0);
        char words[2];
        read_whole(terminal, words, 2);
        CHECK(!memcmp(words, "in", 2) && write(terminal, "x", 1) == 1);
        /* the key that stops also throws away what was not read */
        read_whole(terminal, words, 1);
        CHECK(words[0] == '!' && write(terminal, "\x1a", 1) == 1);
        read_whole(terminal, words, 2);
        CHECK(!memcmp(words, "fg", 2) && write(terminal, "\x03", 1) == 1);
        CHECK(exit_status_of(child) == 26 && close(terminal) == 0);
    } while (!gate_is_open());
    return well();
}
