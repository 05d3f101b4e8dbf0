/* After fork both have the same memory, and from then on each its own. */
#include "program.h"
static unsigned pages[64][1024];

int main(void) {
    unsigned round = 0;
    do {
        round++;
        for (int i = 0; i < 64; i++)
            pages[i][7] = round + i;
        int ready[2];
        CHECK(pipe(ready) == 0);
        pid_t parent = getpid(), child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            CHECK(getppid() == parent && getpid() != parent && gettid() == getpid());
            char byte;
            CHECK(close(ready[1]) == 0 && read(ready[0], &byte, 1) == 0);
            for (int i = 0; i < 64; i++) {
                CHECK(pages[i][7] == round + i);
                pages[i][7] = 0;
            }
            compute(1, 50);
            _exit(3);
        }
        for (int i = 0; i < 64; i += 2)
            pages[i][7] = 1000000;
        CHECK(close(ready[0]) == 0 && close(ready[1]) == 0);
        CHECK(exit_status_of(child) == 3);
        for (int i = 0; i < 64; i++)
            CHECK(pages[i][7] == (i % 2 ? round + i : 1000000));
    } while (!gate_is_open());
    return well();
}
