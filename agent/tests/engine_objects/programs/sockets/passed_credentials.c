/* A socket tells who has sent. */
#include "program.h"
#include <sys/socket.h>

int main(void) {
    int pair[2], on = 1;
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    CHECK(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
    do {
        char text[8];
        union {
            struct cmsghdr header;
            char bytes[CMSG_SPACE(sizeof(struct ucred))];
        } control = {0};
        struct iovec part = {text, 8};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        CHECK(write(pair[0], "who?", 4) == 4 && recvmsg(pair[1], &message, 0) == 4);
        struct ucred who;
        CHECK(control.header.cmsg_type == SCM_CREDENTIALS);
        memcpy(&who, CMSG_DATA(&control.header), sizeof who);
        CHECK(who.pid == getpid() && who.uid == getuid() && who.gid == getgid());
    } while (!gate_is_open());
    return well();
}
