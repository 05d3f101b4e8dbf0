/* Every resource limit can be asked for and set, and is what was set. */
#include "program.h"
#include <sys/resource.h>

int main(void) {
    do {
        for (int resource = 0; resource < RLIMIT_NLIMITS; resource++) {
            struct rlimit before, wanted, seen;
            CHECK(getrlimit(resource, &before) == 0);
            wanted = before;
            if (wanted.rlim_cur == RLIM_INFINITY || wanted.rlim_cur == 0)
                wanted.rlim_cur = (rlim_t)1 << 40 < before.rlim_max ? (rlim_t)1 << 40 : before.rlim_max;
            else
                wanted.rlim_cur--;
            CHECK(setrlimit(resource, &wanted) == 0 && getrlimit(resource, &seen) == 0);
            CHECK(seen.rlim_cur == wanted.rlim_cur && seen.rlim_max == before.rlim_max);
            CHECK(prlimit(0, resource, &before, &seen) == 0 && seen.rlim_cur == wanted.rlim_cur);
            CHECK(prlimit(getpid(), resource, NULL, &seen) == 0 && seen.rlim_cur == before.rlim_cur);
            if (before.rlim_max != RLIM_INFINITY) {
                wanted.rlim_cur = before.rlim_max + 1;
                wanted.rlim_max = before.rlim_max;
                CHECK(setrlimit(resource, &wanted) == -1 && errno == EINVAL);
            }
        }
        struct rlimit none;
        CHECK(getrlimit(RLIMIT_NLIMITS, &none) == -1 && errno == EINVAL);
    } while (!gate_is_open());
    return well();
}
