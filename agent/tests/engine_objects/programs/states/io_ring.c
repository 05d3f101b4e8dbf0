/* A process with an io_uring stays until it has closed it. */
#include "program.h"
#include <linux/io_uring.h>
#include <sys/syscall.h>

int main(void) {
    struct io_uring_params parameters = {0};
    int ring = (int)syscall(SYS_io_uring_setup, 4, &parameters);
    CHECK(ring >= 0);
    stay();
    CHECK(close(ring) == 0);
    be_free();
    return well();
}
