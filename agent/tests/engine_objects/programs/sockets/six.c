/* IPv6 sockets: streams, datagrams, and their options. */
#include "program.h"
#include <netinet/in.h>
#include <sys/socket.h>

int main(void) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT}, from;
    int listener = socket(AF_INET6, SOCK_STREAM, 0), on = 1, seen = 0;
    socklen_t length = sizeof address;
    CHECK(setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0);
    CHECK(bind(listener, (void *)&address, length) == 0 && listen(listener, 5) == 0);
    CHECK(getsockname(listener, (void *)&address, &length) == 0 && length == sizeof address);
    do {
        int fd = socket(AF_INET6, SOCK_STREAM, 0);
        CHECK(connect(fd, (void *)&address, sizeof address) == 0);
        length = sizeof from;
        int other = accept(listener, (void *)&from, &length);
        CHECK(other >= 0 && IN6_IS_ADDR_LOOPBACK(&from.sin6_addr));
        char text[8];
        CHECK(write(fd, "six", 3) == 3 && read(other, text, 8) == 3 && close(fd) == 0 && close(other) == 0);
        length = sizeof seen;
        CHECK(getsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &seen, &length) == 0 && seen == 1);
        CHECK(getsockopt(listener, SOL_SOCKET, SO_DOMAIN, &seen, &length) == 0 && seen == AF_INET6);
    } while (!gate_is_open());
    return well();
}
