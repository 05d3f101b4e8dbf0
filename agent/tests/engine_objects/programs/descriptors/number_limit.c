/* RLIMIT_NOFILE limits descriptors. */
#include "program.h"
#include <sys/resource.h>

int main(void) {
    struct rlimit before;
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    do {
        int first = dup(0);
        struct rlimit few = {first + 3, before.rlim_max};
        CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
        CHECK(dup(0) == first + 1 && dup(0) == first + 2 && dup(0) == -1 && errno == EMFILE);
        int pair[2];
        CHECK(pipe(pair) == -1 && errno == EMFILE);
        CHECK(dup2(0, first + 3) == -1 && errno == EBADF);
        CHECK(fcntl(0, F_DUPFD, first + 3) == -1 && errno == EINVAL);
        CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0 && dup(0) == first + 3);
        CHECK(close_range(first, first + 3, 0) == 0);
    } while (!gate_is_open());
    return well();
}
