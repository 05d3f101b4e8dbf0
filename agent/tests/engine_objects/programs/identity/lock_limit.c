/* An ordinary user locks as much memory as RLIMIT_MEMLOCK allows. */
#include "program.h"
#include <sys/resource.h>

int main(void) {
    const size_t page = 4096;
    struct rlimit limit = {16 * page, 16 * page};
    char *memory = mmap(NULL, 64 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED && setrlimit(RLIMIT_MEMLOCK, &limit) == 0 && setresuid(6789, 6789, 6789) == 0);
    do {
        CHECK(mlock(memory, 8 * page) == 0 && mlock(memory, 32 * page) == -1 && errno == ENOMEM);
        CHECK(munlock(memory, 32 * page) == 0 && mlock(memory, 16 * page) == 0 && munlock(memory, 16 * page) == 0);
        limit.rlim_cur = 4 * page;
        CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
        CHECK(mlock(memory, 8 * page) == -1 && errno == ENOMEM && mlock(memory, 4 * page) == 0);
        CHECK(munlock(memory, 4 * page) == 0);
        limit.rlim_cur = 16 * page;
        CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    } while (!gate_is_open());
    return well();
}
