/* The status tells of a core dump. */
#include "program.h"
#include <sys/resource.h>

int main(void) {
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    CHECK(setrlimit(RLIMIT_CORE, &limit) == 0);
    do
        compute(1, 20);
    while (!gate_is_open());
    CHECK(well() == 0 && fflush(stdout) == 0);
    abort();
}
