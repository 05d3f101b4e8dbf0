/* 300 MiB of memory, all different, checked byte for byte. */
#include "program.h"

int main(void) {
    size_t words = (300ul << 20) / 8;
    uint64_t *memory = malloc(words * 8), x = 88172645463325252;
    for (size_t i = 0; i < words; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        memory[i] = x;
    }
    if (getenv("READY"))
        close(open(getenv("READY"), O_CREAT | O_WRONLY, 0600));
    while (!gate_is_open())
        usleep(10000);
    x = 88172645463325252;
    for (size_t i = 0; i < words; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        CHECK(memory[i] == x);
    }
    puts("300 MiB intact");
    return 0;
}
