/* Threads blocked in calls of every kind hold up none that compute. */
#include "program.h"
#include <sys/eventfd.h>
#include <sys/socket.h>

static int queue[2], pair[2], events;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static bool is_open;

static void *reads(void *unused) {
    char one;
    CHECK(read(queue[0], &one, 1) == 1 && one == 'p');
    return unused;
}

static void *receives(void *unused) {
    char one;
    CHECK(recv(pair[0], &one, 1, 0) == 1 && one == 's');
    return unused;
}

static void *polls(void *unused) {
    struct pollfd wanted = {events, POLLIN, 0};
    CHECK(poll(&wanted, 1, -1) == 1 && wanted.revents == POLLIN);
    return unused;
}

static void *waits(void *unused) {
    pthread_mutex_lock(&lock);
    while (!is_open)
        pthread_cond_wait(&opened, &lock);
    pthread_mutex_unlock(&lock);
    return unused;
}

static void *sleeps(void *unused) {
    while (!is_open)
        sleep_ms(20);
    return unused;
}

int main(void) {
    CHECK(pipe(queue) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && (events = eventfd(0, 0)) >= 0);
    pthread_t threads[5];
    void *(*kinds[5])(void *) = {reads, receives, polls, waits, sleeps};
    for (int i = 0; i < 5; i++)
        CHECK(pthread_create(&threads[i], 0, kinds[i], 0) == 0);
    uint64_t wanted = compute(3, 10);
    do
        CHECK(compute(3, 10) == wanted);
    while (!gate_is_open());
    CHECK(write(queue[1], "p", 1) == 1 && write(pair[1], "s", 1) == 1 && eventfd_write(events, 1) == 0);
    pthread_mutex_lock(&lock);
    is_open = true;
    pthread_cond_broadcast(&opened);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < 5; i++)
        CHECK(pthread_join(threads[i], 0) == 0);
    return well();
}
