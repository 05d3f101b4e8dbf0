/* Datagrams keep their bounds, and tell their sender and their length. */
#include "program.h"
#include <sys/socket.h>
#include <sys/un.h>

static int bound(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, name);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK(fd >= 0 && bind(fd, (void *)&address, sizeof address) == 0);
    return fd;
}

int main(void) {
    int a = bound("a"), b = bound("b");
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "b"}, from;
    do {
        char text[8];
        socklen_t length = sizeof from;
        CHECK(sendto(a, "first", 5, 0, (void *)&to, sizeof to) == 5);
        CHECK(sendto(a, "a longer one", 12, 0, (void *)&to, sizeof to) == 12);
        CHECK(sendto(a, "", 0, 0, (void *)&to, sizeof to) == 0);
        CHECK(recvfrom(b, text, 8, 0, (void *)&from, &length) == 5 && !strcmp(from.sun_path, "a"));
        CHECK(length == offsetof(struct sockaddr_un, sun_path) + 2);
        CHECK(recv(b, text, 8, MSG_PEEK | MSG_TRUNC) == 12);
        struct iovec part = {text, 8};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        CHECK(recvmsg(b, &message, 0) == 8 && message.msg_flags == MSG_TRUNC && !memcmp(text, "a longer", 8));
        CHECK(recv(b, text, 8, 0) == 0 && recv(b, text, 8, MSG_DONTWAIT) == -1 && errno == EAGAIN);
        strcpy(to.sun_path, "c");
        CHECK(sendto(a, "x", 1, 0, (void *)&to, sizeof to) == -1 && errno == ENOENT);
        strcpy(to.sun_path, "b");
    } while (!gate_is_open());
    return well();
}
