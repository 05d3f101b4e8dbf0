/* Poll and select tell of readiness, hang-up, errors and closed descriptors. */
#include "program.h"
int main(void) {
    do {
        int a[2], b[2], null = open("/dev/null", O_RDWR);
        CHECK(pipe(a) == 0 && pipe(b) == 0 && close(a[1]) == 0 && close(b[0]) == 0 && null >= 0);
        struct pollfd all[5] = {
            {a[0], POLLIN, 0}, {b[1], POLLOUT, 0}, {999, POLLIN, 0}, {-7, POLLIN, 55}, {null, POLLIN | POLLOUT, 0},
        };
        CHECK(poll(all, 5, -1) == 4);
        CHECK(all[0].revents == POLLHUP && all[1].revents == (POLLOUT | POLLERR));
        CHECK(all[2].revents == POLLNVAL && all[3].revents == 0 && all[4].revents == (POLLIN | POLLOUT));
        fd_set in, out;
        FD_ZERO(&in); FD_ZERO(&out);
        FD_SET(a[0], &in); FD_SET(b[1], &out); FD_SET(null, &out);
        CHECK(select(100, &in, &out, 0, 0) == 3 && FD_ISSET(a[0], &in) && FD_ISSET(b[1], &out));
        FD_ZERO(&in); FD_SET(a[1], &in);
        CHECK(select(100, &in, 0, 0, &(struct timeval){0}) == -1 && errno == EBADF);
        CHECK(poll(0, 0, 1) == 0 && select(0, 0, 0, 0, &(struct timeval){0, 1000}) == 0);
        CHECK(close(a[0]) == 0 && close(b[1]) == 0 && close(null) == 0);
    } while (!gate_is_open());
    return well();
}
