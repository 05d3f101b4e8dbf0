/* Shared memory that the program has for itself, made before leaving and while away, and then has in common with a
   child: it must have stayed the same memory, not a copy. */
#include "program.h"

#define PAGE 4096ul

static unsigned char *shared(size_t pages) {
    unsigned char *area =
        mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    return area;
}

static void child_writes(unsigned char *area, unsigned char value) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        area[100] = value;
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0 && area[100] == value);
}

int main(void) {
    unsigned char *early = shared(8), *late = 0;
    unsigned char *view = mremap(early + 4 * PAGE, 0, 4 * PAGE, MREMAP_MAYMOVE);
    CHECK(view != MAP_FAILED);
    unsigned char round = 0;
    do {
        round++;
        if (late)
            CHECK(late[1] == (unsigned char)(round - 1) && munmap(late, 2 * PAGE) == 0);
        late = shared(2);
        late[1] = view[1] = round;
        compute(1, 500);
        CHECK(early[4 * PAGE + 1] == round);
    } while (!gate_is_open());
    child_writes(early, 42);
    child_writes(late, 43);
    child_writes(view, 44);
    CHECK(early[4 * PAGE + 100] == 44 && late[1] == round);
    puts("parent and child share memory");
    return 0;
}
