/* Connections are made and refused without waiting. */
#include "program.h"
#include <netinet/in.h>
#include <sys/socket.h>

int main(void) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, nobody;
    socklen_t length = sizeof address;
    CHECK(bind(listener, (void *)&address, length) == 0 && listen(listener, 5) == 0);
    CHECK(getsockname(listener, (void *)&address, &length) == 0 && accept(listener, 0, 0) == -1 && errno == EAGAIN);
    // Bound but not listening: whoever connects there is refused.
    int silent = socket(AF_INET, SOCK_STREAM, 0);
    nobody = address, nobody.sin_port = 0;
    CHECK(bind(silent, (void *)&nobody, sizeof nobody) == 0 && getsockname(silent, (void *)&nobody, &length) == 0);
    do {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), error = -1;
        CHECK(connect(fd, (void *)&address, sizeof address) == 0 || errno == EINPROGRESS);
        struct pollfd wanted = {fd, POLLOUT, 0}, incoming = {listener, POLLIN, 0};
        CHECK(poll(&wanted, 1, -1) == 1 && wanted.revents == POLLOUT);
        length = sizeof error;
        CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0);
        CHECK(poll(&incoming, 1, -1) == 1);
        int other = accept(listener, 0, 0);
        CHECK(other >= 0 && close(other) == 0 && close(fd) == 0);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(connect(fd, (void *)&nobody, sizeof nobody) == -1 && errno == ECONNREFUSED && close(fd) == 0);
    } while (!gate_is_open());
    return well();
}
