/* The rseq area tells the CPU, and is registered once. */
#include "program.h"
#include <sys/rseq.h>
#include <sys/syscall.h>

int main(void) {
    CHECK(__rseq_size > 0);
    struct rseq *area = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
    do {
        CHECK((int)area->cpu_id >= 0 && area->cpu_id < 4096);
        CHECK(syscall(SYS_rseq, area, 32, 0, RSEQ_SIG) == -1 && errno == EBUSY);
        CHECK(syscall(SYS_rseq, (char *)area + 32, 32, 0, RSEQ_SIG) == -1 && errno == EINVAL);
        compute(1, 50);
    } while (!gate_is_open());
    return well();
}
