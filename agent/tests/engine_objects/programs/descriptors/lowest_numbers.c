/* New descriptors get the lowest free numbers; ranges of them are closed at once. */
#include "program.h"
int main(void) {
    CHECK(close_range(3, ~0u, 0) == 0);
    do {
        int first = open("/dev/null", O_RDONLY);
        CHECK(first >= 0);
        for (int i = 1; i < 20; i++)
            CHECK(open("/dev/null", O_RDONLY) == first + i);
        CHECK(close(first + 7) == 0 && close(first + 3) == 0);
        CHECK(open("/dev/zero", O_RDONLY) == first + 3 && dup(0) == first + 7);
        CHECK(close_range(first + 10, first + 14, 0) == 0);
        CHECK(fcntl(first + 12, F_GETFD) == -1 && errno == EBADF);
        CHECK(fcntl(first + 9, F_GETFD) == 0 && fcntl(first + 15, F_GETFD) == 0);
        CHECK(close_range(first, first + 9, CLOSE_RANGE_CLOEXEC) == 0);
        CHECK(fcntl(first + 5, F_GETFD) == FD_CLOEXEC && fcntl(first + 15, F_GETFD) == 0);
        CHECK(close_range(first, ~0u, 0) == 0 && fcntl(first, F_GETFD) == -1);
        CHECK(close(first) == -1 && errno == EBADF && close(-1) == -1 && errno == EBADF);
    } while (!gate_is_open());
    return well();
}
