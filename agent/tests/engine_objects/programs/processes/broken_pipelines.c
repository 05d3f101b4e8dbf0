/* A writer whose readers have all ended is ended by SIGPIPE; a reader sees the end when all writers have. */
#include "program.h"

int main(void) {
    do {
        int ends[2];
        CHECK(pipe(ends) == 0);
        pid_t writer = fork();
        CHECK(writer >= 0);
        if (writer == 0) {
            CHECK(close(ends[0]) == 0);
            char block[5000] = {0};
            while (true)
                CHECK(write(ends[1], block, sizeof block) > 0);
        }
        pid_t reader = fork();
        CHECK(reader >= 0);
        if (reader == 0) {
            CHECK(close(ends[1]) == 0);
            char block[3000];
            read_whole(ends[0], block, sizeof block);
            _exit(5);
        }
        CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
        int status;
        CHECK(exit_status_of(reader) == 5);
        CHECK(waitpid(writer, &status, 0) == writer && WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
    } while (!gate_is_open());
    return well();
}
