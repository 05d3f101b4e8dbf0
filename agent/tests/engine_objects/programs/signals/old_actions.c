/* sigaction(2) leaves the old action where it is asked to, also while the process moves in the middle of the call: shells
   put back what they have found there. */
#include "program.h"

static void first(int signal) { (void)signal; }

static void second(int signal) { (void)signal; }

int main(void) {
    void (*const handlers[])(int) = {SIG_IGN, first, SIG_DFL, second};
    struct sigaction action = {.sa_handler = SIG_DFL}, old;
    CHECK(sigaction(SIGINT, &action, 0) == 0);
    unsigned turn = 0;
    do {
        for (int times = 0; times < 200; times++, turn++) {
            void (*before)(int) = action.sa_handler;
            action.sa_handler = handlers[turn % 4];
            memset(&old, 0x55, sizeof old);
            CHECK(sigaction(SIGINT, &action, &old) == 0);
            CHECK(old.sa_handler == before && !sigismember(&old.sa_mask, SIGTERM));
        }
    } while (!gate_is_open());
    return well();
}
