/* Signals that the program ignores, or that do nothing by default, interrupt no call: epoll_wait, sigtimedwait,
   semtimedop and receiving with a timeout wait on as if nothing had come, and no longer than they should. */
#include "program.h"
#include <sys/epoll.h>
#include <sys/sem.h>
#include <sys/socket.h>

enum { WAIT_MS = 80 };

static pid_t start_sender(void) {
    pid_t parent = getpid(), sender = fork();
    if (sender == 0) {
        for (;;) {
            if (kill(parent, SIGWINCH) != 0 || kill(parent, SIGUSR1) != 0)
                _exit(0);
            usleep(5000);
            if (getppid() != parent)
                _exit(0);
        }
    }
    return sender;
}

static void waited_since(uint64_t start) {
    uint64_t waited = now_ns(CLOCK_MONOTONIC) - start;
    CHECK(waited >= WAIT_MS * 1000000ull);
    CHECK(waited < 20000000000ull);
}

int main(void) {
    signal(SIGUSR1, SIG_IGN);
    int poller = epoll_create1(0), pair[2];
    int semaphores = semget(IPC_PRIVATE, 1, 0600);
    CHECK(semaphores >= 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    struct timeval limit = {0, WAIT_MS * 1000};
    CHECK(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    pid_t sender = start_sender();
    sigset_t terminate;
    sigemptyset(&terminate);
    sigaddset(&terminate, SIGTERM);
    CHECK(sigprocmask(SIG_BLOCK, &terminate, 0) == 0);
    do {
        struct epoll_event event;
        struct timespec wait = {0, WAIT_MS * 1000000};
        uint64_t start = now_ns(CLOCK_MONOTONIC);
        CHECK(epoll_wait(poller, &event, 1, WAIT_MS) == 0);
        waited_since(start);
        start = now_ns(CLOCK_MONOTONIC);
        CHECK(sigtimedwait(&terminate, 0, &wait) == -1 && errno == EAGAIN);
        waited_since(start);
        struct sembuf down = {0, -1, 0};
        start = now_ns(CLOCK_MONOTONIC);
        CHECK(semtimedop(semaphores, &down, 1, &wait) == -1 && errno == EAGAIN);
        waited_since(start);
        char byte;
        start = now_ns(CLOCK_MONOTONIC);
        CHECK(recv(pair[0], &byte, 1, 0) == -1 && errno == EAGAIN);
        waited_since(start);
    } while (!gate_is_open());
    CHECK(kill(sender, SIGKILL) == 0);
    CHECK(semctl(semaphores, 0, IPC_RMID) == 0);
    puts("waited on");
    return 0;
}
