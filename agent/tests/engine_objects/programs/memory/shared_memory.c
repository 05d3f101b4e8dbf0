/* Memory shared with a child process: a counter that both see. */
#include "program.h"

int main(void) {
    volatile unsigned *shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    if (child == 0) {
        while (shared[1] == 0) {
            shared[0]++;
            usleep(1000);
        }
        shared[2] = 42;
        _exit(0);
    }
    do {
        unsigned before = shared[0];
        while (shared[0] == before)
            usleep(1000);
    } while (!gate_is_open());
    shared[1] = 1;
    CHECK(waitpid(child, 0, 0) == child && shared[2] == 42);
    puts("shared memory is shared");
    return 0;
}
