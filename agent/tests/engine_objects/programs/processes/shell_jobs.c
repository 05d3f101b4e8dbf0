/* A shell starts jobs, pipes, waits, traps and substitutes. */
#include "program.h"

int main(void) {
    const char *script = "exec 2>/dev/null\n"
                         "trap 'echo trapped >>log' USR1\n"
                         "sleep 100 & job=$!\n"
                         "kill $job; wait $job; test $? = 143 || exit 1\n"
                         "kill -USR1 $$\n"
                         "test \"$(printf 'c\\na\\nb\\n' | sort | tr '\\n' -)\" = a-b-c- || exit 2\n"
                         "(exit 5); test $? = 5 || exit 3\n"
                         "{ echo one; echo two; } | while read word; do echo \"<$word>\" >>log; done\n"
                         "exit 28\n";
    do {
        int status = system(script);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 28);
        char text[64] = {0};
        int fd = open("log", O_RDONLY);
        CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0 && !strcmp(text, "trapped\n<one>\n<two>\n"));
        CHECK(close(fd) == 0 && unlink("log") == 0);
        FILE *lines = popen("cat >out", "w");
        CHECK(lines && fputs("by popen\n", lines) >= 0 && pclose(lines) == 0);
        CHECK(access("out", F_OK) == 0 && unlink("out") == 0);
    } while (!gate_is_open());
    return well();
}
