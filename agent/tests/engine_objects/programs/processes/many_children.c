/* Forty children at once, each with a status of its own, are awaited in whatever order they end. */
#include "program.h"
enum { CHILDREN = 40 };

int main(void) {
    do {
        pid_t children[CHILDREN];
        int start[2], left = CHILDREN;
        CHECK(pipe(start) == 0);
        for (int i = 0; i < CHILDREN; i++) {
            children[i] = fork();
            CHECK(children[i] >= 0);
            if (children[i] == 0) {
                char byte;
                CHECK(close(start[1]) == 0 && read(start[0], &byte, 1) == 0);
                compute(i, 1 + i * 7 % 5);
                _exit(i);
            }
        }
        CHECK(close(start[0]) == 0 && close(start[1]) == 0);
        while (left > 0) {
            int status;
            pid_t ended = wait(&status);
            if (ended == -1) {
                CHECK(errno == EINTR);
                continue;
            }
            CHECK(WIFEXITED(status) && children[WEXITSTATUS(status)] == ended);
            children[WEXITSTATUS(status)] = 0;
            left--;
        }
    } while (!gate_is_open());
    return well();
}
