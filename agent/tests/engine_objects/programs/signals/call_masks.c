/* Calls that wait with a signal mask of their own: sigsuspend, ppoll, pselect, epoll_pwait and epoll_pwait2. A
   signal that only the call lets through ends it with EINTR; its handler runs with the call's mask, its own and
   itself blocked, and returns to the thread's mask. Of several pending signals all are heard before the
   call returns, with handlers inside handlers; what the call blocks stays pending. Without a signal the call
   waits for its descriptor or its timeout. */
#include "program.h"
#include <sys/epoll.h>
#include <sys/syscall.h>

enum { CALLS = 5 };

static volatile unsigned heard[65];
static sigset_t in_handler[65], interrupted[65];
static volatile int senders_value;

static void on_signal(int signal, siginfo_t *info, void *context) {
    heard[signal]++;
    senders_value = info->si_value.sival_int;
    CHECK(info->si_pid == getpid());
    interrupted[signal] = ((ucontext_t *)context)->uc_sigmask;
    CHECK(sigprocmask(SIG_BLOCK, 0, &in_handler[signal]) == 0);
}

static int poller, empty[2];

/* Waits with `mask`, for at most `seconds`. */
static int wait_by(int call, const sigset_t *mask, double seconds) {
    struct timespec limit = {(time_t)seconds, (long)((seconds - (long)seconds) * 1e9)};
    struct epoll_event event;
    struct pollfd entry = {empty[0], POLLIN, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(empty[0], &set);
    switch (call) {
    case 0:
        return sigsuspend(mask);
    case 1:
        return ppoll(&entry, 1, &limit, mask);
    case 2:
        return pselect(empty[0] + 1, &set, 0, 0, &limit, mask);
    case 3:
        return epoll_pwait(poller, &event, 1, (int)(seconds * 1e3), mask);
    default:
        return syscall(SYS_epoll_pwait2, poller, &event, 1, &limit, mask, 8);
    }
}

static sigset_t set_of(int first, int second, int third) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < 3; i++) {
        int signal = (int[]){first, second, third}[i];
        if (signal)
            sigaddset(&set, signal);
    }
    return set;
}

static bool equal(const sigset_t *seen, int first, int second, int third) {
    sigset_t wanted = set_of(first, second, third);
    for (int signal = 1; signal <= 64; signal++)
        if (signal != 32 && signal != 33 && sigismember(seen, signal) != sigismember(&wanted, signal))
            return false;
    return true;
}

static void sent_before(int call) {
    sigset_t pending, mask = set_of(SIGHUP, 0, 0);
    CHECK(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 77}) == 0);
    CHECK(kill(getpid(), SIGHUP) == 0);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1));
    heard[SIGUSR1] = heard[SIGHUP] = 0;
    CHECK(wait_by(call, &mask, 100) == -1 && errno == EINTR);
    CHECK(heard[SIGUSR1] == 1 && heard[SIGHUP] == 0 && senders_value == 77);
    CHECK(equal(&in_handler[SIGUSR1], SIGHUP, SIGUSR1, SIGTERM));
    CHECK(equal(&interrupted[SIGUSR1], SIGUSR1, SIGUSR2, SIGHUP));
    sigset_t now;
    CHECK(sigprocmask(SIG_BLOCK, 0, &now) == 0 && equal(&now, SIGUSR1, SIGUSR2, SIGHUP));
    mask = set_of(0, 0, 0);
    CHECK(wait_by(call, &mask, 100) == -1 && errno == EINTR && heard[SIGHUP] == 1);
}

static void several(int call) {
    heard[SIGUSR1] = heard[SIGUSR2] = 0;
    CHECK(kill(getpid(), SIGUSR1) == 0 && kill(getpid(), SIGUSR2) == 0);
    sigset_t mask = set_of(0, 0, 0);
    CHECK(wait_by(call, &mask, 100) == -1 && errno == EINTR);
    CHECK(heard[SIGUSR1] == 1 && heard[SIGUSR2] == 1);
    /* The second handler interrupts the first before that has begun. */
    CHECK(equal(&interrupted[SIGUSR1], SIGUSR1, SIGUSR2, SIGHUP));
    CHECK(equal(&interrupted[SIGUSR2], SIGUSR1, SIGTERM, 0));
    CHECK(equal(&in_handler[SIGUSR2], SIGUSR1, SIGUSR2, SIGTERM));
}

static void by_timer(int call) {
    heard[SIGALRM] = 0;
    sigset_t mask = set_of(SIGUSR1, 0, 0), alarms = set_of(SIGALRM, 0, 0);
    CHECK(sigprocmask(SIG_BLOCK, &alarms, 0) == 0);
    struct itimerval soon = {{0, 0}, {0, 15000}};
    CHECK(setitimer(ITIMER_REAL, &soon, 0) == 0);
    CHECK(wait_by(call, &mask, 100) == -1 && errno == EINTR && heard[SIGALRM] == 1);
    CHECK(sigprocmask(SIG_UNBLOCK, &alarms, 0) == 0);
}

static void without_signal(int call) {
    sigset_t mask = set_of(SIGUSR1, 0, 0);
    char byte = 0;
    CHECK(write(empty[1], &byte, 1) == 1);
    CHECK(wait_by(call, &mask, 100) == 1);
    CHECK(read(empty[0], &byte, 1) == 1);
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    CHECK(wait_by(call, &mask, 0.02) == 0);
    CHECK(now_ns(CLOCK_MONOTONIC) - start >= 20000000);
    CHECK(wait_by(call, 0, 0.001) == 0);
}

static void on_alarm(int signal) { heard[signal]++; }

int main(void) {
    CHECK(pipe(empty) == 0);
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    CHECK(epoll_ctl(poller, EPOLL_CTL_ADD, empty[0], &event) == 0);
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    action.sa_mask = set_of(SIGTERM, 0, 0);
    CHECK(sigaction(SIGUSR1, &action, 0) == 0);
    CHECK(sigaction(SIGUSR2, &action, 0) == 0 && sigaction(SIGHUP, &action, 0) == 0);
    struct sigaction on_time = {.sa_handler = on_alarm};
    CHECK(sigaction(SIGALRM, &on_time, 0) == 0);
    sigset_t blocked = set_of(SIGUSR1, SIGUSR2, SIGHUP);
    CHECK(sigprocmask(SIG_SETMASK, &blocked, 0) == 0);
    do {
        for (int call = 0; call < CALLS; call++) {
            sent_before(call);
            several(call);
            by_timer(call);
            if (call > 0)
                without_signal(call);
        }
    } while (!gate_is_open());
    puts("heard only while waiting");
    return 0;
}
