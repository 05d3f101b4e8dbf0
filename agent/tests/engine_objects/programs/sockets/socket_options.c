/* Options of sockets keep what was set, in their own types. */
#include "program.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int option(int fd, int level, int name) {
    int value = -1;
    socklen_t length = sizeof value;
    CHECK(getsockopt(fd, level, name, &value, &length) == 0 && length == sizeof value);
    return value;
}

int main(void) {
    do {
        int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1, size = 50000, one = 1;
        CHECK(option(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM && option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 0);
        CHECK(option(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP && option(fd, SOL_SOCKET, SO_REUSEADDR) == 0);
        CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
        CHECK(option(fd, SOL_SOCKET, SO_REUSEADDR) == 1);
        // socket(7): the kernel doubles the value.
        CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) == 0);
        CHECK(option(fd, SOL_SOCKET, SO_RCVBUF) == 2 * size);
        struct linger linger = {1, 7}, seen = {0};
        socklen_t length = sizeof seen;
        CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
        CHECK(getsockopt(fd, SOL_SOCKET, SO_LINGER, &seen, &length) == 0 && seen.l_linger == 7);
        CHECK(setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &(int){33}, sizeof(int)) == 0);
        CHECK(option(fd, IPPROTO_TCP, TCP_KEEPIDLE) == 33 && option(fd, IPPROTO_TCP, TCP_MAXSEG) > 0);
        char name[16] = {0};
        length = sizeof name;
        CHECK(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length) == 0 && name[0]);
        CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, 1) == -1 && errno == EINVAL);
        CHECK(setsockopt(fd, SOL_SOCKET, 9999, &on, sizeof on) == -1 && errno == ENOPROTOOPT);
        CHECK(ioctl(fd, FIONBIO, &one) == 0 && (fcntl(fd, F_GETFL) & O_NONBLOCK) && close(fd) == 0);
        CHECK(socket(AF_INET, 77, 0) == -1 && errno == EINVAL);
        CHECK(getsockopt(0, SOL_SOCKET, SO_TYPE, &one, &length) == -1 && errno == ENOTSOCK);
    } while (!gate_is_open());
    return well();
}
