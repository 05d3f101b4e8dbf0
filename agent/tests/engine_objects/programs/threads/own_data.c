/* Each thread has its own variables, errno and keys, whose destructors run. */
#include "program.h"
static __thread uint64_t own = 5;
static __thread char buffer[3000];
static pthread_key_t key;
static volatile unsigned destroyed;

static void destroy(void *value) {
    CHECK(*(int *)value == 9);
    __atomic_add_fetch(&destroyed, 1, __ATOMIC_SEQ_CST);
}

static void *work(void *argument) {
    static int nine = 9;
    uintptr_t me = (uintptr_t)argument;
    CHECK(own == 5 && buffer[2999] == 0 && pthread_getspecific(key) == 0);
    CHECK(pthread_setspecific(key, &nine) == 0);
    own = me, buffer[2999] = (char)me, errno = (int)me;
    compute(me, 30);
    CHECK(own == me && buffer[2999] == (char)me && errno == (int)me && pthread_getspecific(key) == &nine);
    return 0;
}

int main(void) {
    CHECK(pthread_key_create(&key, destroy) == 0);
    unsigned rounds = 0;
    do {
        pthread_t threads[5];
        for (uintptr_t i = 0; i < 5; i++)
            CHECK(pthread_create(&threads[i], 0, work, (void *)(i + 10)) == 0);
        for (int i = 0; i < 5; i++)
            CHECK(pthread_join(threads[i], 0) == 0);
        CHECK(destroyed == ++rounds * 5 && own == 5);
    } while (!gate_is_open());
    return well();
}
