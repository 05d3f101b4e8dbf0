/* getcpu and sched_getcpu name a CPU that there is, in every thread. */
#include "program.h"
#include <sched.h>
#include <sys/syscall.h>

static void *look(void *none) {
    for (int i = 0; i < 50; i++) {
        unsigned cpu = 9999, node = 9999;
        CHECK(syscall(SYS_getcpu, &cpu, &node, 0) == 0 && cpu < CPU_SETSIZE && node < 1024);
        int number = sched_getcpu();
        CHECK(number >= 0 && number < CPU_SETSIZE);
        sched_yield();
    }
    return none;
}

int main(void) {
    do {
        pthread_t threads[3];
        for (int i = 0; i < 3; i++)
            CHECK(pthread_create(&threads[i], 0, look, 0) == 0);
        for (int i = 0; i < 3; i++)
            CHECK(pthread_join(threads[i], 0) == 0);
    } while (!gate_is_open());
    return well();
}
