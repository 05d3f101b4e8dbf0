/* Deep recursion: the stack grows at home and away, deeper in each round up to 4 MiB. */
#include "program.h"

static unsigned deep(unsigned depth) {
    volatile unsigned char frame[4000];
    memset((void *)frame, (int)depth, sizeof frame);
    unsigned below = depth ? deep(depth - 1) : 0;
    for (unsigned i = 0; i < sizeof frame; i += 97)
        CHECK(frame[i] == (unsigned char)depth);
    return below + 1;
}

int main(void) {
    unsigned depth = 50;
    do {
        CHECK(deep(depth) == depth + 1);
        if (depth < 1000)
            depth += 50;
        compute(1, 100);
    } while (!gate_is_open());
    puts("stack deep enough");
    return 0;
}
