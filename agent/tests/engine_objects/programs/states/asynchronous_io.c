/* A process with a ring of asynchronous I/O stays until it has thrown it away. */
#include "program.h"
#include <linux/aio_abi.h>
#include <sys/syscall.h>

int main(void) {
    aio_context_t ring = 0;
    CHECK(syscall(SYS_io_setup, 4, &ring) == 0);
    stay();
    char text[8] = {0};
    make_file("file", "text");
    struct iocb read = {.aio_lio_opcode = IOCB_CMD_PREAD, .aio_buf = (uintptr_t)text, .aio_nbytes = 4};
    struct iocb *all[] = {&read};
    struct io_event event;
    read.aio_fildes = open("file", O_RDONLY);
    CHECK(syscall(SYS_io_submit, ring, 1, all) == 1 && syscall(SYS_io_getevents, ring, 1, 1, &event, NULL) == 1);
    CHECK(event.res == 4 && !strcmp(text, "text") && syscall(SYS_io_destroy, ring) == 0);
    be_free();
    return well();
}
