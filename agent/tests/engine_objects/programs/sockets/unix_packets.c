/* Sequenced packets are a connection with bounds. */
#include "program.h"
#include <sys/socket.h>

int main(void) {
    do {
        int pair[2];
        char text[16];
        CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
        CHECK(fcntl(pair[0], F_GETFD) == FD_CLOEXEC && (fcntl(pair[0], F_GETFL) & O_NONBLOCK));
        CHECK(write(pair[0], "one", 3) == 3 && write(pair[0], "second", 6) == 6);
        CHECK(read(pair[1], text, 16) == 3 && read(pair[1], text, 2) == 2 && read(pair[1], text, 16) == -1);
        CHECK(errno == EAGAIN && close(pair[0]) == 0 && read(pair[1], text, 16) == 0 && close(pair[1]) == 0);
    } while (!gate_is_open());
    return well();
}
