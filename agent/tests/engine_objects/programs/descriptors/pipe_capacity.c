/* A pipe takes what it has room for, and tells how much is in it. */
#include "program.h"
#include <sys/ioctl.h>

int main(void) {
    int queue[2];
    static char block[4096];
    CHECK(pipe2(queue, O_NONBLOCK) == 0);
    do {
        // A user who has many pipes open may lower a pipe's capacity, but not raise it (pipe(7)).
        int capacity = fcntl(queue[0], F_GETPIPE_SZ), size, count = 0;
        while (write(queue[1], block, sizeof block) == sizeof block)
            count++;
        CHECK(errno == EAGAIN && count == capacity / 4096);
        CHECK(ioctl(queue[0], FIONREAD, &size) == 0 && size == capacity);
        struct pollfd both[2] = {{queue[0], POLLIN, 0}, {queue[1], POLLOUT, 0}};
        CHECK(poll(both, 2, 0) == 1 && both[0].revents == POLLIN && both[1].revents == 0);
        CHECK(read(queue[0], block, 4096) == 4096 && poll(both, 2, 0) == 1 + (capacity > 4096));
        // pipe(7): at most PIPE_BUF bytes go in together or not at all.
        CHECK(write(queue[1], block, 4096) == 4096 && read(queue[0], block, 100) == 100);
        CHECK(write(queue[1], block, 4096) == -1 && errno == EAGAIN);
        while (read(queue[0], block, sizeof block) > 0)
            ;
        CHECK(errno == EAGAIN && ioctl(queue[0], FIONREAD, &size) == 0 && size == 0);
        CHECK(fcntl(queue[0], F_SETPIPE_SZ, 4096) == 4096);
        CHECK(fcntl(queue[0], F_SETPIPE_SZ, 16384) == 16384 || errno == EPERM);
    } while (!gate_is_open());
    return well();
}
