/* prlimit reads and sets another process's limits, which its children get. */
#include "program.h"
#include <sys/resource.h>

int main(void) {
    do {
        int gate[2];
        CHECK(pipe(gate) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            char byte;
            CHECK(close(gate[1]) == 0 && read(gate[0], &byte, 1) == 0);
            pid_t grandchild = fork();
            CHECK(grandchild >= 0);
            if (grandchild == 0) {
                struct rlimit limit;
                CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
                _exit(limit.rlim_cur == 50 && open("/dev/null", O_RDONLY) >= 0 ? 29 : 1);
            }
            _exit(exit_status_of(grandchild));
        }
        struct rlimit wanted = {50, 60}, old, seen;
        CHECK(prlimit(child, RLIMIT_NOFILE, &wanted, &old) == 0 && prlimit(child, RLIMIT_NOFILE, 0, &seen) == 0);
        CHECK(seen.rlim_cur == 50 && seen.rlim_max == 60 && old.rlim_cur != 50);
        CHECK(close(gate[0]) == 0 && close(gate[1]) == 0 && exit_status_of(child) == 29);
        CHECK(prlimit(child, RLIMIT_NOFILE, 0, &seen) == -1 && errno == ESRCH);
    } while (!gate_is_open());
    return well();
}
