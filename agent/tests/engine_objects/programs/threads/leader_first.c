/* The first thread ends before the others. */
#include "program.h"
static void *work(void *unused) {
    (void)unused;
    do
        compute(1, 20);
    while (!gate_is_open());
    sleep_ms(2);
    exit(well());
}

int main(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, 0, work, 0) == 0);
    while (!gate_is_open())
        sleep_ms(2);
    pthread_exit(0);
}
