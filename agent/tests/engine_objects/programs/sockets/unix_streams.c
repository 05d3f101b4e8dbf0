/* A pair of stream sockets carries bytes both ways until each way is shut down. */
#include "program.h"
#include <sys/socket.h>

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    do {
        int pair[2];
        char text[32] = {0};
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
        CHECK(send(pair[0], "one", 3, 0) == 3 && send(pair[0], "two", 3, 0) == 3);
        CHECK(recv(pair[1], text, 32, MSG_PEEK) >= 3 && recv(pair[1], text, 6, MSG_WAITALL) == 6);
        CHECK(!memcmp(text, "onetwo", 6) && recv(pair[1], text, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
        CHECK(write(pair[1], "back", 4) == 4 && shutdown(pair[0], SHUT_WR) == 0);
        CHECK(read(pair[1], text, 32) == 0 && read(pair[0], text, 32) == 4 && !memcmp(text, "back", 4));
        CHECK(send(pair[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
        CHECK(send(pair[1], "more", 4, 0) == 4 && close(pair[1]) == 0);
        CHECK(read(pair[0], text, 32) == 4 && read(pair[0], text, 32) == 0 && close(pair[0]) == 0);
    } while (!gate_is_open());
    return well();
}
