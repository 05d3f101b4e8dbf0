/* Who ignores SIGCHLD, or says so with SA_NOCLDWAIT, has no zombies, and a wait lasts until all have ended. */
#include "program.h"
static volatile int heard;

static void on_child(int signal) {
    (void)signal;
    heard++;
}

static void end_some(void) {
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            _exit(i);
    }
    pid_t ended;
    while ((ended = wait(0)) == -1 && errno == EINTR)
        ;
    CHECK(ended == -1 && errno == ECHILD);
}

int main(void) {
    do {
        struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_NOCLDWAIT};
        CHECK(sigaction(SIGCHLD, &action, 0) == 0);
        heard = 0;
        end_some();
        CHECK(heard >= 1);
        CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
        end_some();
        CHECK(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
    } while (!gate_is_open());
    return well();
}
