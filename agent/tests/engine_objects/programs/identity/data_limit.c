/* RLIMIT_DATA limits the heap and private writable memory. */
#include "program.h"
#include <sys/resource.h>

int main(void) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_DATA, &limit) == 0);
    limit.rlim_cur = 64 << 20;
    CHECK(setrlimit(RLIMIT_DATA, &limit) == 0);
    do {
        char *top = sbrk(0);
        CHECK(sbrk(256 << 20) == (void *)-1 && errno == ENOMEM && sbrk(0) == top);
        CHECK(sbrk(1 << 20) == top && sbrk(-(1 << 20)) == top + (1 << 20));
        CHECK(mmap(NULL, 256 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
        void *readable = mmap(NULL, 256 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(readable != MAP_FAILED && munmap(readable, 256 << 20) == 0);
    } while (!gate_is_open());
    return well();
}
