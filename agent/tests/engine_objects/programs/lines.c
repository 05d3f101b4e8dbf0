/* Writes numbered lines, each by one call. */
#include "program.h"

int main(void) {
    unsigned number = 0;
    do {
        char line[16];
        int length = snprintf(line, sizeof line, "%u\n", number++);
        CHECK(write(1, line, length) == length);
        compute(1, 100);
    } while (!gate_is_open());
    return 0;
}
