/* Blocks of all sizes come and go, from two threads; each keeps its pattern. */
#include "program.h"

enum { BLOCKS = 300 };

static void *churn(void *argument) {
    uint64_t random = (uintptr_t)argument;
    struct {
        unsigned char *bytes;
        size_t size;
    } blocks[BLOCKS] = {{0, 0}};
    unsigned step = 0;
    do {
        for (int i = 0; i < 500; i++, step++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            unsigned slot = (random >> 33) % BLOCKS;
            unsigned char *bytes = blocks[slot].bytes;
            if (bytes)
                CHECK(bytes[0] == (unsigned char)slot &&
                      bytes[blocks[slot].size - 1] == (unsigned char)slot);
            size_t size = 1 + (random >> 40) % (step % 50 ? 2000 : 300000);
            blocks[slot].bytes = realloc(step % 3 ? bytes : (free(bytes), NULL), size);
            blocks[slot].size = size;
            memset(blocks[slot].bytes, (int)slot, size);
        }
    } while (!gate_is_open());
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i].bytes);
    return 0;
}

int main(void) {
    pthread_t threads[2];
    for (uintptr_t i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], 0, churn, (void *)(i + 1)) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], 0);
    puts("heap in order");
    return 0;
}
