/* Mostly blocked in read(2) of a pipe into which another process writes numbers now and then: none may
   be lost, doubled or out of order, wherever the reader is when one comes. */
#include "program.h"

int main(void) {
    int numbers[2];
    CHECK(pipe(numbers) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(numbers[0]);
        for (unsigned number = 0;; number++) {
            CHECK(write(numbers[1], &number, sizeof number) == sizeof number);
            if (gate_is_open())
                break;
            usleep(20000);
        }
        _exit(0);
    }
    close(numbers[1]);
    unsigned expected = 0, number;
    ssize_t n;
    while ((n = read(numbers[0], &number, sizeof number)) == sizeof number) {
        CHECK(number == expected);
        expected++;
    }
    CHECK(n == 0 && expected > 0);
    CHECK(wait(0) == child);
    puts("every number read");
    return 0;
}
