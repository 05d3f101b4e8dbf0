/* A script is run by the interpreter that its first line names, with one argument of that line and its own path. */
#include "program.h"
extern char **environ;

static void make_script(const char *name, const char *text) {
    make_file(name, text);
    CHECK(chmod(name, 0755) == 0);
}

static int run(char **words) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        execve(words[0], words, environ);
        _exit(errno);
    }
    return exit_status_of(child);
}

int main(void) {
    make_script("plain", "#!/bin/sh\ntest \"$0\" = ./plain && test \"$1\" = one && exit 41\n");
    make_script("with", "#! /bin/sh -eu \nfalse\nexit 1\n");
    make_script("without", "exit 7\n");
    make_script("nowhere", "#!/no/such/interpreter\n");
    make_script("nested", "#!./plain\n");
    do {
        char *plain[] = {"./plain", "one", 0}, *with[] = {"./with", 0};
        char *without[] = {"./without", 0}, *nowhere[] = {"./nowhere", 0}, *nested[] = {"./nested", 0};
        CHECK(run(plain) == 41 && run(with) == 1);
        CHECK(run(without) == ENOEXEC && run(nowhere) == ENOENT);
        CHECK(run(nested) == 1);
        CHECK(WEXITSTATUS(system("./without")) == 7);
    } while (!gate_is_open());
    return well();
}
