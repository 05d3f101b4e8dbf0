/* Pipes to a process that stays at home: an echo, transfers beyond a pipe's capacity, poll and select,
   end of file, and writing to a pipe that nobody reads. */
#include "program.h"
#include <sys/socket.h>

/* Takes a message whole before it sends it back: a user who has many pipes open gets new ones with room for
   two pages (pipe(7)). */
static void echo(int in, int out) {
    static char message[60000];
    unsigned size;
    while (read(in, &size, sizeof size) == sizeof size) {
        read_whole(in, message, size);
        write_whole(out, message, size);
    }
    _exit(7);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    int to[2], from[2];
    CHECK(pipe(to) == 0 && pipe2(from, O_CLOEXEC) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(to[1]);
        close(from[0]);
        echo(to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    static unsigned char out[60000], in[60000];
    for (unsigned size = 1;; size = size * 3 % 60000 + 1) {
        for (unsigned i = 0; i < size; i++)
            out[i] = (unsigned char)(i * 7 + size);
        CHECK(write(to[1], &size, sizeof size) == sizeof size);
        CHECK(write(to[1], out, size) == (ssize_t)size);
        struct pollfd wanted = {from[0], POLLIN, 0};
        CHECK(poll(&wanted, 1, -1) == 1 && wanted.revents == POLLIN);
        fd_set set;
        FD_ZERO(&set);
        FD_SET(from[0], &set);
        struct timeval limit = {5, 0};
        CHECK(select(from[0] + 1, &set, 0, 0, &limit) == 1 && FD_ISSET(from[0], &set));
        CHECK(limit.tv_sec == 4);
        for (unsigned done = 0; done < size;) {
            ssize_t n = read(from[0], in + done, size - done);
            CHECK(n > 0);
            done += n;
        }
        CHECK(!memcmp(in, out, size));
        if (gate_is_open())
            break;
    }
    CHECK(fcntl(from[0], F_SETFL, O_NONBLOCK) == 0 && read(from[0], in, 1) == -1 && errno == EAGAIN);
    CHECK(fcntl(from[0], F_SETFL, 0) == 0);
    close(to[1]);
    CHECK(read(from[0], in, 1) == 0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    int pair[2];
    CHECK(pipe(pair) == 0 && close(pair[0]) == 0);
    CHECK(write(pair[1], "x", 1) == -1 && errno == EPIPE);
    puts("pipes as expected");
    return 0;
}
