/* UDP keeps bounds, knows senders and tells of closed ports. */
#include "program.h"
#include <netinet/in.h>
#include <sys/socket.h>

static int bound(struct sockaddr_in *address) {
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof *address;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(bind(fd, (void *)address, length) == 0 && getsockname(fd, (void *)address, &length) == 0);
    return fd;
}

int main(void) {
    struct sockaddr_in a_address, b_address, c_address, from;
    int a = bound(&a_address), b = bound(&b_address);
    do {
        char text[2000];
        socklen_t length = sizeof from;
        memset(text, 'u', sizeof text);
        CHECK(sendto(a, text, 1500, 0, (void *)&b_address, sizeof b_address) == 1500);
        CHECK(recvfrom(b, text, 2000, 0, (void *)&from, &length) == 1500 && from.sin_port == a_address.sin_port);
        int c = bound(&c_address);
        CHECK(connect(c, (void *)&b_address, sizeof b_address) == 0 && send(c, "connected", 9, 0) == 9);
        CHECK(sendto(a, "stranger", 8, 0, (void *)&c_address, sizeof c_address) == 8);
        CHECK(recv(b, text, 2000, 0) == 9 && recv(c, text, 2000, MSG_DONTWAIT) == -1 && errno == EAGAIN);
        // The port's being closed comes back as an error of the connected sender.
        int d = socket(AF_INET, SOCK_DGRAM, 0);
        CHECK(connect(d, (void *)&c_address, sizeof c_address) == 0 && close(c) == 0);
        CHECK(send(d, "x", 1, 0) == 1);
        CHECK(recv(d, text, 1, 0) == -1 && errno == ECONNREFUSED && close(d) == 0);
    } while (!gate_is_open());
    return well();
}
