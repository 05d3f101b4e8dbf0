/* Calls with pointers to memory that is not there, that may not be read, or that may not be written fail
   as natively: with EFAULT, or with the error that the kernel finds first. */
#include "program.h"
#include <sys/syscall.h>

int main(void) {
    char *pages = mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    strcpy(pages + 4096, "read only");
    memset(pages, 'x', 4096);
    CHECK(mprotect(pages + 4096, 4096, PROT_READ) == 0);
    CHECK(mprotect(pages + 8192, 4096, PROT_NONE) == 0);
    char *fresh = pages, *read_only = pages + 4096, *forbidden = pages + 8192;
    int ends[2];
    CHECK(pipe(ends) == 0);
    do {
        char *bad[] = {forbidden, (char *)8, (char *)-4096};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            CHECK(chdir(bad[i]) == -1 && errno == EFAULT);
            CHECK(write(ends[1], bad[i], 10) == -1 && errno == EFAULT);
            CHECK(write(999, bad[i], 10) == -1 && errno == EBADF);
            CHECK(syscall(SYS_pipe2, bad[i], 0xffffff) == -1 && errno == EINVAL);
            CHECK(syscall(SYS_getcwd, bad[i], 4096) == -1 && errno == EFAULT);
            compute(i, 100);
        }
        CHECK(syscall(SYS_getcwd, read_only, 4096) == -1 && errno == EFAULT);
        CHECK(strcmp(read_only, "read only") == 0);
        // Up to the forbidden page the bytes are there.
        CHECK(write(ends[1], read_only, 8192) == 4096);
        CHECK(read(ends[0], fresh, 4096) == 4096 && strcmp(fresh, "read only") == 0);
    } while (!gate_is_open());
    return well();
}
