/* A program that has sworn never to make written memory executable is held to it. */
#include "program.h"
#include <sys/prctl.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif

int main(void) {
    const int both = PROT_READ | PROT_WRITE, run = PROT_READ | PROT_EXEC, kind = MAP_PRIVATE | MAP_ANONYMOUS;
    CHECK(prctl(PR_SET_MDWE, 1, 0, 0, 0) == 0);
    do {
        CHECK(prctl(PR_GET_MDWE, 0, 0, 0, 0) == 1);
        CHECK(mmap(NULL, 4096, both | PROT_EXEC, kind, -1, 0) == MAP_FAILED && errno == EACCES);
        void *memory = mmap(NULL, 4096, both, kind, -1, 0);
        CHECK(memory != MAP_FAILED && mprotect(memory, 4096, run) == -1 && errno == EACCES);
        CHECK(munmap(memory, 4096) == 0);
        int file = open("/proc/self/exe", O_RDONLY);
        void *code = mmap(NULL, 4096, run, MAP_PRIVATE, file, 0);
        CHECK(code != MAP_FAILED && munmap(code, 4096) == 0 && close(file) == 0);
    } while (!gate_is_open());
    return well();
}
