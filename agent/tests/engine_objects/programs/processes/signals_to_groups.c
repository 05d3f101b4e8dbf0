/* kill(0) reaches all of the caller's group, itself included; kill(-1) is not tried. */
#include "program.h"
static volatile int heard;

static void on_signal(int signal) {
    heard = signal;
}

int main(void) {
    CHECK(signal(SIGUSR1, on_signal) != SIG_ERR);
    do {
        pid_t leader = fork();
        CHECK(leader >= 0);
        if (leader == 0) {
            CHECK(setpgid(0, 0) == 0);
            heard = 0;
            pid_t children[3];
            for (int i = 0; i < 3; i++) {
                children[i] = fork();
                CHECK(children[i] >= 0);
                if (children[i] == 0) {
                    while (heard == 0)
                        sleep_ms(1);
                    _exit(heard == SIGUSR1 ? i : 99);
                }
            }
            CHECK(kill(0, SIGUSR1) == 0 && heard == SIGUSR1);
            for (int i = 0; i < 3; i++)
                CHECK(exit_status_of(children[i]) == i);
            _exit(27);
        }
        CHECK(exit_status_of(leader) == 27 && heard == 0);
    } while (!gate_is_open());
    return well();
}
