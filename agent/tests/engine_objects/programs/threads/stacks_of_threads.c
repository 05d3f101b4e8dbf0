/* Threads have stacks of the size asked for, deep enough to recurse. */
#include "program.h"
static unsigned deep(unsigned depth) {
    volatile char room[1000];
    room[depth % 1000] = (char)depth;
    return depth == 0 ? 0 : deep(depth - 1) + (room[depth % 1000] == (char)depth);
}

static void *work(void *unused) {
    (void)unused;
    pthread_attr_t attributes;
    void *start;
    size_t size;
    char here;
    CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0);
    CHECK(pthread_attr_getstack(&attributes, &start, &size) == 0 && size == 1 << 20);
    CHECK(&here > (char *)start && &here < (char *)start + size);
    CHECK(deep(700) == 700);
    return 0;
}

int main(void) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstacksize(&attributes, 1 << 20) == 0);
    do {
        pthread_t threads[3];
        for (int i = 0; i < 3; i++)
            CHECK(pthread_create(&threads[i], &attributes, work, 0) == 0);
        for (int i = 0; i < 3; i++)
            CHECK(pthread_join(threads[i], 0) == 0);
        CHECK(deep(2000) == 2000);
    } while (!gate_is_open());
    return well();
}
