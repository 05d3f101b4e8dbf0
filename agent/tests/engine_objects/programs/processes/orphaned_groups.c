/* A stopped process whose group loses its last tie to the session hears SIGHUP, and goes on. */
#include "program.h"
static int told;

static void on_hangup(int signal) {
    CHECK(write(told, &signal, sizeof signal) == sizeof signal);
    _exit(0);
}

int main(void) {
    do {
        int ends[2], ready[2];
        CHECK(pipe(ends) == 0 && pipe(ready) == 0);
        told = ends[1];
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            CHECK(setsid() > 0);
            pid_t stopped = fork();
            CHECK(stopped >= 0);
            if (stopped == 0) {
                CHECK(setpgid(0, 0) == 0 && signal(SIGHUP, on_hangup) != SIG_ERR && write(ready[1], "r", 1) == 1);
                raise(SIGSTOP);
                while (true)
                    pause();
            }
            char byte;
            int status;
            read_whole(ready[0], &byte, 1);
            CHECK(waitpid(stopped, &status, WUNTRACED) == stopped && WIFSTOPPED(status));
            _exit(25);
        }
        CHECK(exit_status_of(child) == 25);
        int signal;
        read_whole(ends[0], &signal, sizeof signal);
        CHECK(signal == SIGHUP);
        for (int i = 0; i < 2; i++)
            CHECK(close(ends[i]) == 0 && close(ready[i]) == 0);
    } while (!gate_is_open());
    return well();
}
