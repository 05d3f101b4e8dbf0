/* A named socket accepts connections and tells whose they are. */
#include "program.h"
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t length;

static void *client(void *unused) {
    (void)unused;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char text[8];
    CHECK(fd >= 0 && connect(fd, (void *)&address, length) == 0);
    CHECK(write(fd, "hello", 5) == 5 && read(fd, text, 8) == 3 && !memcmp(text, "bye", 3));
    CHECK(close(fd) == 0);
    return 0;
}

int main(void) {
    for (unsigned round = 0;; round++) {
        // A path, and an abstract name, which begins with a zero byte.
        snprintf(address.sun_path + round % 2, 60, "socket-%d", getpid());
        address.sun_path[0] = round % 2 ? 0 : 's';
        length = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(address.sun_path + 1);
        int listener = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK(connect(listener, (void *)&address, length) == -1);
        CHECK(errno == (round % 2 ? ECONNREFUSED : ENOENT));
        CHECK(bind(listener, (void *)&address, length) == 0 && listen(listener, 3) == 0);
        pthread_t thread;
        CHECK(pthread_create(&thread, 0, client, 0) == 0);
        struct sockaddr_un peer;
        socklen_t peer_length = sizeof peer;
        int fd = accept4(listener, (void *)&peer, &peer_length, SOCK_CLOEXEC);
        CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC && peer_length == sizeof peer.sun_family);
        struct ucred who;
        socklen_t size = sizeof who;
        CHECK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 && who.pid == getpid());
        peer_length = sizeof peer;
        CHECK(getsockname(fd, (void *)&peer, &peer_length) == 0 && peer_length >= length);
        char text[8];
        CHECK(read(fd, text, 8) == 5 && write(fd, "bye", 3) == 3 && read(fd, text, 8) == 0);
        CHECK(pthread_join(thread, 0) == 0 && close(fd) == 0 && close(listener) == 0);
        if (round % 2 == 0)
            CHECK(unlink(address.sun_path) == 0);
        else if (gate_is_open())
            return well();
    }
}
