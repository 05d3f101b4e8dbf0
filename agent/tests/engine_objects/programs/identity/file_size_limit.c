/* RLIMIT_FSIZE limits how long a file can be made: SIGXFSZ, or EFBIG for who ignores that. */
#include "program.h"
#include <sys/resource.h>

static volatile sig_atomic_t heard;

static void on_limit(int signal) {
    (void)signal;
    heard++;
}

int main(void) {
    struct rlimit limit;
    char block[4096] = {1};
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = 10000;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    do {
        int file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
        signal(SIGXFSZ, on_limit);
        heard = 0;
        CHECK(file >= 0 && write(file, block, 4096) == 4096 && write(file, block, 4096) == 4096);
        CHECK(write(file, block, 4096) == 10000 - 8192 && !heard);
        CHECK(write(file, block, 1) == -1 && errno == EFBIG && heard == 1);
        signal(SIGXFSZ, SIG_IGN);
        CHECK(ftruncate(file, 20000) == -1 && errno == EFBIG && heard == 1);
        CHECK(pwrite(file, block, 100, 9950) == 50 && close(file) == 0);
    } while (!gate_is_open());
    return well();
}
