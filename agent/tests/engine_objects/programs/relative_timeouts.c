/* Threads that wait in all calls with a relative timeout for what does not come. None may give up early; when all have
   given up the program ends. */
#include "program.h"
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/sem.h>
#include <sys/syscall.h>

enum { WAIT_MS = 5000, CALLS = 12 };

static int quiet[2], poller, semaphores, word;
static sigset_t unsent;

static int wait_by(int call) {
    struct timespec wait = {WAIT_MS / 1000, WAIT_MS % 1000 * 1000000};
    struct timeval limit = {WAIT_MS / 1000, WAIT_MS % 1000 * 1000};
    struct pollfd entry = {quiet[0], POLLIN, 0};
    struct epoll_event event;
    struct sembuf down = {0, -1, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(quiet[0], &set);
    switch (call) {
    case 0:
        return poll(&entry, 1, WAIT_MS);
    case 1:
        return ppoll(&entry, 1, &wait, 0);
    case 2:
        return select(quiet[0] + 1, &set, 0, 0, &limit);
    case 3:
        return pselect(quiet[0] + 1, &set, 0, 0, &wait, 0);
    case 4:
        return epoll_wait(poller, &event, 1, WAIT_MS);
    case 5:
        return epoll_pwait(poller, &event, 1, WAIT_MS, &unsent);
    case 6:
        return syscall(SYS_epoll_pwait2, poller, &event, 1, &wait, 0, 0);
    case 7:
        return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &wait) == -1 && errno == ETIMEDOUT ? 0 : -1;
    case 8:
        return nanosleep(&wait, 0);
    case 9:
        return clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, 0);
    case 10:
        return sigtimedwait(&unsent, 0, &wait) == -1 && errno == EAGAIN ? 0 : -1;
    default:
        return semtimedop(semaphores, &down, 1, &wait) == -1 && errno == EAGAIN ? 0 : -1;
    }
}

static void *waits(void *call) {
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    CHECK(wait_by((int)(intptr_t)call) == 0);
    // Kernels round a timeout of milliseconds to what their timers can do.
    CHECK(now_ns(CLOCK_MONOTONIC) - start >= (WAIT_MS - 2) * 1000000ull);
    return 0;
}

int main(void) {
    CHECK(pipe(quiet) == 0);
    struct epoll_event interest = {.events = EPOLLIN};
    poller = epoll_create1(0);
    CHECK(epoll_ctl(poller, EPOLL_CTL_ADD, quiet[0], &interest) == 0);
    semaphores = semget(IPC_PRIVATE, 1, 0600);
    CHECK(semaphores >= 0);
    sigemptyset(&unsent);
    sigaddset(&unsent, SIGUSR1);
    CHECK(sigprocmask(SIG_BLOCK, &unsent, 0) == 0);
    pthread_t threads[CALLS];
    for (intptr_t call = 0; call < CALLS; call++)
        CHECK(pthread_create(&threads[call], 0, waits, (void *)call) == 0);
    for (int call = 0; call < CALLS; call++)
        CHECK(pthread_join(threads[call], 0) == 0);
    CHECK(semctl(semaphores, 0, IPC_RMID) == 0);
    return well();
}
