/* One call sends many messages, one receives them. */
#include "program.h"
#include <sys/socket.h>

int main(void) {
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    do {
        char texts[5][16] = {"one", "two", "three", "four", "five"}, seen[8][16] = {{0}};
        struct iovec out[5], in[8];
        struct mmsghdr sent[5] = {0}, received[8] = {0};
        for (int i = 0; i < 5; i++) {
            out[i] = (struct iovec){texts[i], strlen(texts[i])};
            sent[i].msg_hdr = (struct msghdr){.msg_iov = &out[i], .msg_iovlen = 1};
        }
        for (int i = 0; i < 8; i++) {
            in[i] = (struct iovec){seen[i], 15};
            received[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
        }
        CHECK(sendmmsg(pair[0], sent, 5, 0) == 5 && sent[2].msg_len == 5);
        struct timespec limit = {5, 0};
        CHECK(recvmmsg(pair[1], received, 2, 0, &limit) == 2 && received[1].msg_len == 3);
        CHECK(recvmmsg(pair[1], received + 2, 6, MSG_WAITFORONE, 0) == 3);
        for (int i = 0; i < 5; i++)
            CHECK(!strcmp(seen[i], texts[i]) && received[i].msg_len == strlen(texts[i]));
        CHECK(recvmmsg(pair[1], received, 1, MSG_DONTWAIT, 0) == -1 && errno == EAGAIN);
    } while (!gate_is_open());
    return well();
}
