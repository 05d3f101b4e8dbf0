/* Receiving and accepting give up after the time that was set. */
#include "program.h"
#include <sys/socket.h>
#include <sys/un.h>

int main(void) {
    int pair[2], listener = socket(AF_UNIX, SOCK_STREAM, 0);
    struct timeval limit = {0, 8000}, seen;
    socklen_t length = sizeof seen;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    CHECK(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "listener"};
    CHECK(bind(listener, (void *)&address, sizeof address) == 0 && listen(listener, 1) == 0);
    do {
        char text[4];
        uint64_t start = now_ns(CLOCK_MONOTONIC);
        CHECK(recv(pair[0], text, 4, 0) == -1 && errno == EAGAIN && now_ns(CLOCK_MONOTONIC) - start >= 7000000);
        start = now_ns(CLOCK_MONOTONIC);
        CHECK(accept(listener, 0, 0) == -1 && errno == EAGAIN && now_ns(CLOCK_MONOTONIC) - start >= 7000000);
        CHECK(getsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &seen, &length) == 0 && seen.tv_usec == 8000);
        CHECK(write(pair[1], "x", 1) == 1 && recv(pair[0], text, 4, 0) == 1);
    } while (!gate_is_open());
    return well();
}
