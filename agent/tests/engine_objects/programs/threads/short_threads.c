/* Threads that come and go, some detached, some cancelled, all with own ids and thread-local data. */
#include "program.h"
#include <sys/syscall.h>

static __thread int own = 3;
static unsigned finished;

static void *brief(void *argument) {
    CHECK(own == 3);
    own = (int)(uintptr_t)argument;
    CHECK(syscall(SYS_gettid) != getpid());
    compute(own, 10);
    CHECK(own == (int)(uintptr_t)argument);
    __atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
    return (void *)syscall(SYS_gettid);
}

__attribute__((noreturn)) static void *forever(void *argument) {
    (void)argument;
    for (;;)
        pause();
}

int main(void) {
    do {
        pthread_t threads[6];
        void *results[6];
        finished = 0;
        for (uintptr_t i = 0; i < 6; i++)
            CHECK(pthread_create(&threads[i], 0, brief, (void *)i) == 0);
        for (int i = 0; i < 6; i++) {
            errno = pthread_join(threads[i], &results[i]);
            CHECK(errno == 0);
            CHECK(results[i] != 0);
        }
        pthread_t detached;
        CHECK(pthread_create(&detached, 0, brief, (void *)9) == 0 && pthread_detach(detached) == 0);
        while (__atomic_load_n(&finished, __ATOMIC_SEQ_CST) != 7)
            sched_yield();
        pthread_t cancelled;
        CHECK(pthread_create(&cancelled, 0, forever, 0) == 0 && pthread_cancel(cancelled) == 0);
        void *result;
        CHECK(pthread_join(cancelled, &result) == 0 && result == PTHREAD_CANCELED);
    } while (!gate_is_open());
    puts("threads came and went");
    return 0;
}
