/* The new program gets its arguments and its environment, all of them and nothing else. */
#include "program.h"
enum { MANY = 300 };

static int is_right(int count, char **arguments, char **environment) {
    CHECK(count == MANY + 3 && !strcmp(arguments[0], "named otherwise") && arguments[count] == 0);
    CHECK(!strcmp(arguments[1], "") && strlen(arguments[2]) == 100000);
    for (int i = 0; i < MANY; i++)
        CHECK(atoi(arguments[3 + i]) == i);
    CHECK(!strcmp(environment[0], "FIRST=1") && !strcmp(environment[1], "=strange") && !environment[2]);
    return 33;
}

int main(int count, char **arguments, char **environment) {
    if (count > 1)
        return is_right(count, arguments, environment);
    static char large[100001], numbers[MANY][8];
    memset(large, 'x', sizeof large - 1);
    char *words[MANY + 4] = {"named otherwise", "", large};
    for (int i = 0; i < MANY; i++) {
        snprintf(numbers[i], sizeof numbers[i], "%d", i);
        words[3 + i] = numbers[i];
    }
    char *variables[] = {"FIRST=1", "=strange", 0};
    do {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            execve("/proc/self/exe", words, variables);
            _exit(errno);
        }
        CHECK(exit_status_of(child) == 33);
    } while (!gate_is_open());
    return well();
}
