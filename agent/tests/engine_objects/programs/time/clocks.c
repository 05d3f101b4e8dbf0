/* Clocks read as fast as they can be: none goes backwards. CPU time is not among them: it begins anew on
   each node. */
#include "program.h"

int main(void) {
    clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME, CLOCK_MONOTONIC_RAW,
                          CLOCK_MONOTONIC_COARSE};
    enum { CLOCKS = sizeof clocks / sizeof *clocks };
    uint64_t last[CLOCKS] = {0};
    do {
        for (int i = 0; i < 2000; i++)
            for (int c = 0; c < CLOCKS; c++) {
                if (c == CLOCKS - 1 && i % 100)
                    continue;
                uint64_t now = now_ns(clocks[c]);
                if (now < last[c]) {
                    fprintf(stderr, "clock %d went back by %llu ns\n", clocks[c],
                            (unsigned long long)(last[c] - now));
                    return 1;
                }
                last[c] = now;
            }
        struct timeval tv;
        /* time(2) is as coarse as the timer's tick: it may still be in the second before. */
        CHECK(gettimeofday(&tv, 0) == 0 && tv.tv_sec - time(0) <= 1);
    } while (!gate_is_open());
    puts("time went on");
    return 0;
}
