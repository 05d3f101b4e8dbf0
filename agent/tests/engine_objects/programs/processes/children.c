/* fork, vfork, exec and wait in every variant that programs use. */
#include "program.h"
#include <spawn.h>

extern char **environ;

int main(void) {
    unsigned round = 0;
    do {
        int result[2];
        CHECK(pipe(result) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            pid_t ids[2] = {getpid(), getppid()};
            CHECK(write(result[1], ids, sizeof ids) == sizeof ids);
            _exit(17);
        }
        pid_t ids[2];
        CHECK(read(result[0], ids, sizeof ids) == sizeof ids);
        CHECK(ids[0] == child && ids[1] == getpid());
        int status;
        CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 17);
        CHECK(system("exit 5") == 5 << 8);
        char *arguments[] = {"sh", "-c", "kill -9 $$", 0};
        CHECK(posix_spawn(&child, "/bin/sh", 0, 0, arguments, environ) == 0);
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == 9);
        child = vfork();
        if (child == 0) {
            execl("/bin/true", "true", (char *)0);
            _exit(1);
        }
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        CHECK(waitpid(-1, &status, 0) == -1 && errno == ECHILD);
        close(result[0]);
        close(result[1]);
        compute(1, 100);
        round++;
    } while (!gate_is_open());
    FILE *words = popen("echo three words here", "r");
    char line[64];
    CHECK(fgets(line, sizeof line, words) && pclose(words) == 0);
    fputs(line, stdout);
    fflush(stdout);
    execl("/bin/echo", "echo", "replaced", (char *)0);
    return 1;
}
