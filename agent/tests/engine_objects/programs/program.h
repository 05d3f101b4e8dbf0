/* What every test program shares. A program does its round of checks at least once, and again until the
   test opens the gate (makes the file that GATE names); it prints only what does not depend on how many
   rounds there were. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            int error = errno;                                                                     \
            fprintf(stderr, "%s:%d: not %s (errno %d %s)\n", __FILE__, __LINE__, #condition,        \
                    error, strerror(error));                                                       \
            _exit(99);                                                                             \
        }                                                                                          \
    } while (0)

static inline bool gate_is_open(void) {
    const char *gate = getenv("GATE");
    return !gate || access(gate, F_OK) == 0;
}

/* The last words of a program whose checks have all come true. */
static inline int well(void) {
    puts("well");
    return 0;
}

static inline uint64_t now_ns(clockid_t clock) {
    struct timespec now;
    CHECK(clock_gettime(clock, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void sleep_ms(unsigned ms) {
    struct timespec wait = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&wait, &wait) != 0)
        CHECK(errno == EINTR);
}

/* Tells the test that the program has reached the state that is to be seen. */
static inline void say_ready(void) {
    const char *ready = getenv("READY");
    if (ready) {
        int fd = open(ready, O_WRONLY | O_CREAT, 0600);
        CHECK(fd >= 0 && close(fd) == 0);
    }
}

/* Waits, in a state in which the program cannot leave home, until the gate opens. */
static inline void stay(void) {
    say_ready();
    while (!gate_is_open())
        sleep_ms(2);
}

/* The state that kept the program at home is over: says so by the file FREE, and goes on for as long as the test
   keeps the file HOLD. */
static inline void be_free(void) {
    const char *free = getenv("FREE"), *hold = getenv("HOLD");
    if (!free || !hold || access(hold, F_OK) != 0)
        return;
    int fd = open(free, O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && close(fd) == 0);
    while (access(hold, F_OK) == 0)
        sleep_ms(2);
}

static inline void make_file(const char *name, const char *text) {
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

/* A stop, by job control or for a move, ends a blocking transfer of a pipe or socket early once some of it
   is done: goes on until all is. */
static inline void read_whole(int fd, void *into, size_t length) {
    for (ssize_t n; length > 0; into = (char *)into + n, length -= n)
        CHECK((n = read(fd, into, length)) > 0);
}

static inline void write_whole(int fd, const void *from, size_t length) {
    for (ssize_t n; length > 0; from = (const char *)from + n, length -= n)
        CHECK((n = write(fd, from, length)) > 0);
}

/* Awaits a child that shall exit by itself; its exit status. */
static inline int exit_status_of(pid_t child) {
    int status;
    pid_t ended;
    while ((ended = waitpid(child, &status, 0)) == -1)
        CHECK(errno == EINTR);
    CHECK(ended == child && WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Computes for some milliseconds of this thread's time; the result depends on the seed alone. */
static inline uint64_t compute(uint64_t seed, unsigned rounds) {
    uint64_t x = seed * 2 + 1;
    for (unsigned i = 0; i < rounds * 1000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}
