/* exit runs what was registered, last first, and flushes; _exit does neither; the status is eight bits. */
#include "program.h"
static int out;

static void first(void) {
    CHECK(write(out, "1", 1) == 1);
}

static void second(int status, void *text) {
    CHECK(status == 0x1234 && write(out, text, 1) == 1);
}

static int end(int kind) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        out = ends[1];
        FILE *buffered = fdopen(dup(out), "w");
        CHECK(buffered && fputs("b", buffered) >= 0);
        CHECK(atexit(first) == 0 && on_exit(second, "2") == 0);
        if (kind == 0)
            exit(0x1234);
        if (kind == 1)
            _exit(0x1234);
        quick_exit(0x1234);
    }
    char seen[8] = {0};
    CHECK(close(ends[1]) == 0 && exit_status_of(child) == 0x34);
    size_t length = 0;
    for (ssize_t n; (n = read(ends[0], seen + length, sizeof seen - length)) > 0;)
        length += n;
    CHECK(close(ends[0]) == 0 && !strcmp(seen, kind == 0 ? "21b" : ""));
    return 0;
}

int main(void) {
    do
        CHECK(end(0) == 0 && end(1) == 0 && end(2) == 0);
    while (!gate_is_open());
    return well();
}
