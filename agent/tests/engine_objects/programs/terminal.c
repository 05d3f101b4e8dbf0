/* Runs its arguments on a terminal of their own. When the gate is open: types a line, awaits it twice
   (the terminal's echo and the program's), types ^C, and tells how the program ended. */
#include "program.h"
#include <pty.h>
#include <termios.h>

int main(int count, char **arguments) {
    CHECK(count >= 2);
    int terminal;
    pid_t child = forkpty(&terminal, 0, 0, 0);
    CHECK(child >= 0);
    if (child == 0) {
        execv(arguments[1], arguments + 1);
        _exit(98);
    }
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s.new", getenv("READY"));
    FILE *ready = fopen(path, "w");
    CHECK(ready && fprintf(ready, "%d", child) > 0 && fclose(ready) == 0);
    CHECK(rename(path, getenv("READY")) == 0);
    while (!gate_is_open())
        usleep(5000);
    CHECK(write(terminal, "a line\n", 7) == 7);
    char seen[100] = {0};
    for (size_t length = 0; length < 16;) {
        ssize_t n = read(terminal, seen + length, sizeof seen - 1 - length);
        CHECK(n > 0);
        length += n;
    }
    CHECK(!strcmp(seen, "a line\r\na line\r\n"));
    CHECK(write(terminal, "\003", 1) == 1);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    printf("signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return 0;
}
