/* /proc/self/mem reads and writes the program's memory. */
#include "program.h"
int main(void) {
    static volatile unsigned word;
    for (unsigned round = 1;; round++) {
        word = round;
        unsigned seen = 0, next = round + 1000000;
        int fd = open("/proc/self/mem", O_RDWR);
        CHECK(fd >= 0 && pread(fd, &seen, 4, (off_t)(uintptr_t)&word) == 4 && seen == round);
        CHECK(pwrite(fd, &next, 4, (off_t)(uintptr_t)&word) == 4 && word == next && close(fd) == 0);
        if (gate_is_open())
            return well();
    }
}
