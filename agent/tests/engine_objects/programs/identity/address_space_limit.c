/* RLIMIT_AS limits what can be mapped, wherever the program computes, and from the moment when it is set. */
#include "program.h"
#include <sys/resource.h>

static const size_t small = 8 << 20, large = 512 << 20;

static bool can_map(size_t length) {
    void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        CHECK(errno == ENOMEM);
    else
        CHECK(munmap(at, length) == 0);
    return at != MAP_FAILED;
}

int main(void) {
    struct rlimit all, limit;
    CHECK(getrlimit(RLIMIT_AS, &all) == 0 && can_map(large));
    limit = all;
    limit.rlim_cur = 128 << 20;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    do {
        CHECK(can_map(small) && !can_map(large));
        int file = open("/proc/self/exe", O_RDONLY);
        void *at = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0);
        CHECK(at != MAP_FAILED && munmap(at, 4096) == 0 && close(file) == 0);
        CHECK(setrlimit(RLIMIT_AS, &all) == 0 && can_map(large));
        CHECK(setrlimit(RLIMIT_AS, &limit) == 0 && !can_map(large));
        char *heap = malloc(4 << 20);
        CHECK(heap && malloc(large) == NULL && errno == ENOMEM);
        free(heap);
    } while (!gate_is_open());
    return well();
}
