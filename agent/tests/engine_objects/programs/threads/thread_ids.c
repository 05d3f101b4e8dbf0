/* Thread ids are unique, the first is the process's, and the kernel clears the last word. */
#include "program.h"
#include <sys/syscall.h>

static volatile pid_t ids[3], own_word;

static void *work(void *argument) {
    ids[(intptr_t)argument] = gettid();
    CHECK(syscall(SYS_getpid) == getpid() && gettid() != getpid());
    return 0;
}

int main(void) {
    CHECK(gettid() == getpid());
    do {
        pthread_t threads[3];
        for (intptr_t i = 0; i < 3; i++)
            CHECK(pthread_create(&threads[i], 0, work, (void *)i) == 0);
        for (int i = 0; i < 3; i++)
            CHECK(pthread_join(threads[i], 0) == 0);
        CHECK(ids[0] && ids[1] && ids[2] && ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        // A thread may be joined a moment before its id is gone.
        while (syscall(SYS_tgkill, getpid(), ids[0], 0) == 0)
            sleep_ms(1);
        CHECK(errno == ESRCH);
        CHECK(syscall(SYS_set_tid_address, &own_word) == gettid());
    } while (!gate_is_open());
    return well();
}
