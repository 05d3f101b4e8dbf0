/* Detached threads end by themselves. */
#include "program.h"
static unsigned ended;

static void *work(void *argument) {
    compute((uintptr_t)argument, 5);
    __atomic_add_fetch(&ended, 1, __ATOMIC_SEQ_CST);
    return 0;
}

int main(void) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    unsigned begun = 0;
    do {
        pthread_t thread;
        CHECK(pthread_create(&thread, &attributes, work, (void *)1) == 0);
        CHECK(pthread_create(&thread, 0, work, (void *)2) == 0 && pthread_detach(thread) == 0);
        begun += 2;
        while (__atomic_load_n(&ended, __ATOMIC_SEQ_CST) < begun)
            sleep_ms(1);
    } while (!gate_is_open());
    return well();
}
