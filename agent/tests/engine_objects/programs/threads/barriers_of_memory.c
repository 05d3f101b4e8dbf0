/* Membarrier does what it says it can. */
#include "program.h"
#include <linux/membarrier.h>
#include <sys/syscall.h>

int main(void) {
    long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    CHECK(commands > 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED));
    CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0);
    do {
        CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0);
        CHECK(syscall(SYS_membarrier, 1 << 30, 0, 0) == -1 && errno == EINVAL);
        compute(1, 10);
    } while (!gate_is_open());
    return well();
}
