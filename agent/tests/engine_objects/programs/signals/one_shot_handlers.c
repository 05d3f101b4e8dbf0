/* SA_RESETHAND lets a handler run once. */
#include "program.h"
static volatile int heard;

static void on_signal(int signal) {
    struct sigaction now;
    CHECK(sigaction(signal, 0, &now) == 0 && now.sa_handler == SIG_DFL);
    heard++;
}

int main(void) {
    do {
        struct sigaction once = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND}, now;
        heard = 0;
        CHECK(sigaction(SIGURG, &once, 0) == 0 && kill(getpid(), SIGURG) == 0 && heard == 1);
        CHECK(sigaction(SIGURG, 0, &now) == 0 && now.sa_handler == SIG_DFL);
        // SIGURG is ignored by default.
        CHECK(kill(getpid(), SIGURG) == 0 && heard == 1);
        CHECK(sigaction(SIGURG, &once, &now) == 0 && sigaction(SIGURG, 0, &now) == 0);
        CHECK(now.sa_handler == on_signal && (now.sa_flags & SA_RESETHAND));
    } while (!gate_is_open());
    return well();
}
