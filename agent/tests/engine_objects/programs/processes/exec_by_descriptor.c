/* fexecve and execveat run what a descriptor shows, or what lies below it. */
#include "program.h"
#include <sys/syscall.h>
extern char **environ;

static int run(int fd, const char *name, int flags) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char *words[] = {"sh", "-c", "exit 36", 0};
        syscall(SYS_execveat, fd, name, words, environ, flags);
        _exit(errno);
    }
    return exit_status_of(child);
}

int main(void) {
    CHECK(symlink("/bin/sh", "link") == 0);
    do {
        int shell = open("/bin/sh", O_RDONLY | O_CLOEXEC), folder = open("/bin", O_PATH | O_DIRECTORY | O_CLOEXEC);
        CHECK(shell >= 0 && folder >= 0);
        CHECK(run(folder, "sh", 0) == 36 && run(shell, "", AT_EMPTY_PATH) == 36);
        CHECK(run(AT_FDCWD, "link", 0) == 36 && run(AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW) == ELOOP);
        CHECK(run(shell, "", 0) == ENOENT && run(shell, "x", 0) == ENOTDIR);
        pid_t child = fork();
        if (child == 0) {
            char *words[] = {"sh", "-c", "exit 37", 0};
            fexecve(shell, words, environ);
            _exit(1);
        }
        CHECK(exit_status_of(child) == 37 && close(shell) == 0 && close(folder) == 0);
    } while (!gate_is_open());
    return well();
}
