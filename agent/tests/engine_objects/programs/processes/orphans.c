/* Who loses its parent gets another one, and lives on. */
#include "program.h"

int main(void) {
    do {
        int result[2];
        CHECK(pipe(result) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            pid_t self = getpid(), orphan = fork();
            CHECK(orphan >= 0);
            if (orphan == 0) {
                while (getppid() == self)
                    sleep_ms(1);
                pid_t words[3] = {getpid(), getppid(), getpgrp()};
                compute(1, 20);
                CHECK(write(result[1], words, sizeof words) == sizeof words);
                _exit(0);
            }
            _exit(40);
        }
        pid_t words[3];
        CHECK(exit_status_of(child) == 40 && close(result[1]) == 0);
        read_whole(result[0], words, sizeof words);
        CHECK(words[0] != child && words[1] != child && words[2] == getpgrp());
        char byte;
        CHECK(read(result[0], &byte, 1) == 0 && close(result[0]) == 0);
        CHECK(wait(0) == -1 && errno == ECHILD);
    } while (!gate_is_open());
    return well();
}
