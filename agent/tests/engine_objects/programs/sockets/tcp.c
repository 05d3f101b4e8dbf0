/* A TCP connection carries bytes both ways, each way ends by itself. */
#include "program.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static struct sockaddr_in address;

static void *echo(void *listener) {
    int fd = accept(*(int *)listener, 0, 0);
    char text[4096];
    CHECK(fd >= 0);
    for (ssize_t n; (n = read(fd, text, sizeof text)) > 0;)
        write_whole(fd, text, n);
    CHECK(close(fd) == 0);
    return 0;
}

int main(void) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    CHECK(bind(listener, (void *)&address, length) == 0 && listen(listener, 5) == 0);
    CHECK(getsockname(listener, (void *)&address, &length) == 0 && address.sin_port != 0);
    do {
        pthread_t thread;
        CHECK(pthread_create(&thread, 0, echo, &listener) == 0);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
        CHECK(connect(fd, (void *)&address, sizeof address) == 0);
        CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
        static char out[20000], in[20000];
        for (unsigned i = 0; i < sizeof out; i++)
            out[i] = i * 13;
        write_whole(fd, out, sizeof out);
        read_whole(fd, in, sizeof in);
        CHECK(!memcmp(in, out, sizeof in));
        struct tcp_info info;
        length = sizeof info;
        CHECK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && info.tcpi_state == TCP_ESTABLISHED);
        struct sockaddr_in peer;
        length = sizeof peer;
        CHECK(getpeername(fd, (void *)&peer, &length) == 0 && peer.sin_port == address.sin_port);
        CHECK(shutdown(fd, SHUT_WR) == 0 && read(fd, in, 1) == 0 && close(fd) == 0);
        CHECK(pthread_join(thread, 0) == 0);
    } while (!gate_is_open());
    return well();
}
