/* Computes, then ends as it is told: "exit N", "return N", "abort", "fault", "divide", "trap", "illegal",
   "kill N" (a signal to itself). */
#include "program.h"

int main(int count, char **arguments) {
    volatile uint64_t sum = 0;
    do
        sum += compute(3, 20);
    while (!gate_is_open());
    CHECK(count >= 2);
    volatile int number = count > 2 ? atoi(arguments[2]) : 0;
    printf("about to end by %s\n", arguments[1]);
    fflush(stdout);
    if (!strcmp(arguments[1], "exit"))
        _exit(number);
    if (!strcmp(arguments[1], "return"))
        return number;
    if (!strcmp(arguments[1], "abort"))
        abort();
    if (!strcmp(arguments[1], "fault"))
        *(volatile int *)16 = 1;
    if (!strcmp(arguments[1], "divide"))
        number = 10 / number;
    if (!strcmp(arguments[1], "trap"))
        __asm__ volatile("int3");
    if (!strcmp(arguments[1], "illegal"))
        __asm__ volatile("ud2");
    if (!strcmp(arguments[1], "kill"))
        kill(getpid(), number);
    for (;;)
        pause();
}
