/* A traced process stays with its tracer, until that lets it go. */
#include "program.h"
#include <sys/ptrace.h>

int main(void) {
    int ready[2], end[2];
    char word;
    pid_t parent = getpid();
    CHECK(pipe(ready) == 0 && pipe(end) == 0);
    pid_t tracer = fork();
    if (tracer == 0) {
        CHECK(close(end[1]) == 0);
        CHECK(ptrace(PTRACE_SEIZE, parent, 0, 0) == 0 && write(ready[1], "r", 1) == 1);
        CHECK(read(end[0], &word, 1) == 0);
        _exit(0);
    }
    CHECK(close(end[0]) == 0 && read(ready[0], &word, 1) == 1);
    stay();
    CHECK(close(end[1]) == 0 && exit_status_of(tracer) == 0);
    be_free();
    return well();
}
