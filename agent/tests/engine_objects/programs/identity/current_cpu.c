/* The CPU on which the program runs is one of those that it may run on, however it asks. */
#include "program.h"
#include <sched.h>
#include <sys/rseq.h>
#include <sys/syscall.h>

int main(void) {
    volatile struct rseq *area = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
    const unsigned possible = (unsigned)sysconf(_SC_NPROCESSORS_CONF);
    do {
        cpu_set_t allowed;
        CHECK(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
        for (int i = 0; i < 1000; i++) {
            unsigned cpu, node;
            CHECK(syscall(SYS_getcpu, &cpu, &node, NULL) == 0 && CPU_ISSET((int)cpu, &allowed));
            CHECK(CPU_ISSET(sched_getcpu(), &allowed) && cpu < possible);
            if (__rseq_size > 0)
                CHECK(CPU_ISSET((int)area->cpu_id, &allowed) && area->cpu_id_start < CPU_SETSIZE);
        }
    } while (!gate_is_open());
    return well();
}
