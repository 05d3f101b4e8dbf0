/* Descriptors travel through sockets. */
#include "program.h"
#include <sys/socket.h>

int main(void) {
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    do {
        int queues[4];
        CHECK(pipe(queues) == 0 && pipe(queues + 2) == 0);
        union {
            struct cmsghdr header;
            char bytes[CMSG_SPACE(sizeof queues)];
        } control = {0};
        struct iovec part = {"x", 1};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof queues), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), queues, sizeof queues);
        CHECK(sendmsg(pair[0], &message, 0) == 1);
        for (int i = 0; i < 4; i++)
            CHECK(close(queues[i]) == 0);
        char text[4];
        part = (struct iovec){text, 4};
        memset(&control, 0, sizeof control);
        CHECK(recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC) == 1 && message.msg_flags == MSG_CMSG_CLOEXEC);
        CHECK(control.header.cmsg_type == SCM_RIGHTS && control.header.cmsg_len == CMSG_LEN(sizeof queues));
        memcpy(queues, CMSG_DATA(&control.header), sizeof queues);
        for (int i = 0; i < 4; i += 2) {
            CHECK(fcntl(queues[i], F_GETFD) == FD_CLOEXEC);
            CHECK(write(queues[i + 1], "yz", 2) == 2 && read(queues[i], text, 4) == 2);
            CHECK(close(queues[i]) == 0 && close(queues[i + 1]) == 0);
        }
        // A descriptor for which there is no room is closed, and the message says so.
        part = (struct iovec){"x", 1};
        message.msg_controllen = CMSG_SPACE(sizeof(int));
        control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &pair[0], sizeof(int));
        CHECK(sendmsg(pair[0], &message, 0) == 1);
        part = (struct iovec){text, 4};
        message.msg_controllen = 0;
        CHECK(recvmsg(pair[1], &message, 0) == 1 && (message.msg_flags & MSG_CTRUNC));
    } while (!gate_is_open());
    return well();
}
