/* An exec that fails says why, and the program goes on as it was. */
#include "program.h"
extern char **environ;

static int failure(const char *path) {
    char *words[] = {"x", 0};
    CHECK(execve(path, words, environ) == -1);
    return errno;
}

int main(void) {
    make_file("text", "no program\n");
    make_file("denied", "#!/bin/sh\n");
    CHECK(chmod("text", 0755) == 0 && chmod("denied", 0644) == 0 && symlink("loop", "loop") == 0);
    make_file("busy", "#!/bin/sh\n");
    CHECK(chmod("busy", 0755) == 0);
    do {
        volatile int kept = 5;
        CHECK(failure("missing") == ENOENT && failure("") == ENOENT && failure("text") == ENOEXEC);
        CHECK(failure("denied") == EACCES && failure(".") == EACCES && failure("text/below") == ENOTDIR);
        CHECK(failure("loop") == ELOOP);
        int fd = open("busy", O_WRONLY);
        CHECK(fd >= 0 && failure("busy") == ETXTBSY && close(fd) == 0);
        CHECK(kept == 5);
        compute(1, 50);
    } while (!gate_is_open());
    return well();
}
