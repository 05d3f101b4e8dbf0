/* Whatever a child is doing when it is killed, its parent learns by which signal. */
#include "program.h"

static void work(int kind) {
    int never[2];
    CHECK(pipe(never) == 0);
    char byte;
    switch (kind) {
    case 0:
        while (true)
            compute(1, 1);
    case 1:
        CHECK(read(never[0], &byte, 1) == 1);
        break;
    case 2:
        sleep_ms(1000000);
        break;
    case 3:
        while (fork() != 0)
            if (waitpid(-1, 0, 0) < 0)
                break;
        _exit(0);
    case 4:
        raise(SIGSTOP);
        break;
    default:
        signal(SIGTERM, SIG_IGN);
        while (true)
            pause();
    }
}

int main(void) {
    const int signals[] = {SIGKILL, SIGTERM, SIGHUP, SIGUSR1, SIGALRM, SIGPIPE, SIGKILL, SIGRTMIN + 3};
    unsigned round = 0;
    do {
        for (int kind = 0; kind < 6; kind++) {
            pid_t child = fork();
            CHECK(child >= 0);
            if (child == 0) {
                work(kind);
                _exit(98);
            }
            sleep_ms(round % 3);
            int number = kind == 5 || kind == 4 ? SIGKILL : signals[(kind + round) % 8], status;
            CHECK(kill(child, number) == 0);
            CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == number);
            CHECK(kill(child, 0) == -1 && errno == ESRCH);
        }
        round++;
    } while (!gate_is_open());
    return well();
}
