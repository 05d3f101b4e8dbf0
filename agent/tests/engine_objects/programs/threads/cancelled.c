/* A cancelled thread leaves a blocked call and cleans up. */
#include "program.h"
static volatile int cleaned, queue[2];

static void clean(void *unused) {
    (void)unused;
    cleaned++;
}

static void *blocks(void *unused) {
    char text[4];
    pthread_cleanup_push(clean, unused);
    while (read(queue[0], text, 4) > 0)
        ;
    pthread_cleanup_pop(0);
    return 0;
}

static void *computes(void *unused) {
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, 0);
    pthread_cleanup_push(clean, unused);
    for (volatile uint64_t i = 0;; i++)
        ;
    pthread_cleanup_pop(0);
}

int main(void) {
    CHECK(pipe((int *)queue) == 0);
    do {
        pthread_t a, b;
        void *result;
        cleaned = 0;
        CHECK(pthread_create(&a, 0, blocks, 0) == 0 && pthread_create(&b, 0, computes, 0) == 0);
        sleep_ms(2);
        CHECK(pthread_cancel(a) == 0 && pthread_join(a, &result) == 0 && result == PTHREAD_CANCELED);
        CHECK(pthread_cancel(b) == 0 && pthread_join(b, &result) == 0 && result == PTHREAD_CANCELED);
    } while (!gate_is_open());
    CHECK(cleaned >= 1);
    return well();
}
