/* The end of a process ends its blocked threads. */
#include "program.h"
static int queue[2];

static void *blocks(void *unused) {
    char one;
    CHECK(read(queue[0], &one, 1) == 1);
    return unused;
}

static void *sleeps(void *unused) {
    while (true)
        sleep_ms(10000);
    return unused;
}

int main(void) {
    pthread_t thread;
    CHECK(pipe(queue) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&thread, 0, i % 2 ? blocks : sleeps, 0) == 0);
    do
        compute(1, 20);
    while (!gate_is_open());
    return well();
}
