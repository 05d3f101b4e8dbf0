/* Ppoll, pselect and epoll_pwait let signals through only while they wait. */
#include "program.h"
#include <sys/epoll.h>

static volatile unsigned heard;

static void on_signal(int signal) {
    (void)signal;
    heard++;
}

int main(void) {
    sigset_t blocked, none;
    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGUSR1, &action, 0) == 0 && sigprocmask(SIG_BLOCK, &blocked, 0) == 0);
    int queue[2], epoll = epoll_create1(0);
    CHECK(pipe(queue) == 0);
    struct epoll_event event = {EPOLLIN, {0}};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, queue[0], &event) == 0);
    do {
        heard = 0;
        struct pollfd wanted = {queue[0], POLLIN, 0};
        CHECK(kill(getpid(), SIGUSR1) == 0 && heard == 0);
        CHECK(ppoll(&wanted, 1, 0, &none) == -1 && errno == EINTR && heard == 1);
        CHECK(kill(getpid(), SIGUSR1) == 0 && heard == 1);
        fd_set set;
        FD_ZERO(&set); FD_SET(queue[0], &set);
        CHECK(pselect(queue[0] + 1, &set, 0, 0, 0, &none) == -1 && errno == EINTR && heard == 2);
        CHECK(kill(getpid(), SIGUSR1) == 0 && heard == 2);
        CHECK(epoll_pwait(epoll, &event, 1, -1, &none) == -1 && errno == EINTR && heard == 3);
        sigset_t now;
        CHECK(sigprocmask(SIG_BLOCK, 0, &now) == 0 && sigismember(&now, SIGUSR1));
        struct timespec limit = {0, 2000000};
        CHECK(ppoll(&wanted, 1, &limit, &blocked) == 0 && heard == 3);
    } while (!gate_is_open());
    return well();
}
