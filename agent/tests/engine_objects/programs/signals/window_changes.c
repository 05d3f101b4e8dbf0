/* A terminal's new size is told to its foreground. */
#include "program.h"
#include <pty.h>
#include <sys/ioctl.h>

static volatile int changes;

static void on_change(int signal) {
    (void)signal;
    changes++;
}

int main(void) {
    int terminal;
    struct winsize size = {24, 80, 0, 0}, seen;
    pid_t child = forkpty(&terminal, 0, 0, &size);
    CHECK(child >= 0);
    if (child == 0) {
        struct sigaction action = {.sa_handler = on_change, .sa_flags = SA_RESTART};
        CHECK(sigaction(SIGWINCH, &action, 0) == 0 && write(1, "r", 1) == 1);
        for (int row = 25;; row++) {
            while (changes == 0)
                sleep_ms(1);
            changes = 0;
            CHECK(ioctl(0, TIOCGWINSZ, &seen) == 0);
            if (seen.ws_row == 0)
                _exit(7);
            CHECK(seen.ws_row == row && write(1, "r", 1) == 1);
        }
    }
    char one;
    CHECK(read(terminal, &one, 1) == 1);
    do {
        size.ws_row++;
        CHECK(ioctl(terminal, TIOCSWINSZ, &size) == 0 && read(terminal, &one, 1) == 1 && one == 'r');
    } while (!gate_is_open());
    size.ws_row = 0;
    CHECK(ioctl(terminal, TIOCSWINSZ, &size) == 0 && exit_status_of(child) == 7);
    return well();
}
