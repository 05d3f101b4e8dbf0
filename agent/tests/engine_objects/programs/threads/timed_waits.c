/* Futex timeouts, relative and absolute, and semaphores shared with another process's memory-free wakeups. */
#include "program.h"
#include <linux/futex.h>
#include <semaphore.h>
#include <sys/syscall.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never;
static sem_t semaphore;

static void *poster(void *argument) {
    (void)argument;
    usleep(30000);
    sem_post(&semaphore);
    return 0;
}

int main(void) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&never, &attributes);
    sem_init(&semaphore, 0, 0);
    do {
        uint64_t until = now_ns(CLOCK_MONOTONIC) + 60000000;
        struct timespec deadline = {until / 1000000000u, until % 1000000000u};
        pthread_mutex_lock(&lock);
        int result;
        while ((result = pthread_cond_timedwait(&never, &lock, &deadline)) == 0)
            ;
        pthread_mutex_unlock(&lock);
        CHECK(result == ETIMEDOUT && now_ns(CLOCK_MONOTONIC) >= until);
        uint64_t start = now_ns(CLOCK_MONOTONIC);
        int word = 5;
        struct timespec relative = {0, 60000000};
        CHECK(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 5, &relative, 0, 0) == -1);
        CHECK(errno == ETIMEDOUT);
        uint64_t waited = now_ns(CLOCK_MONOTONIC) - start;
        CHECK(waited >= 60000000 && waited < 20000000000);
        CHECK(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 4, 0, 0, 0) == -1 && errno == EAGAIN);
        struct timespec real;
        clock_gettime(CLOCK_REALTIME, &real);
        real.tv_nsec += 40000000;
        if (real.tv_nsec >= 1000000000)
            real.tv_nsec -= 1000000000, real.tv_sec++;
        CHECK(sem_timedwait(&semaphore, &real) == -1 && errno == ETIMEDOUT);
        pthread_t thread;
        pthread_create(&thread, 0, poster, 0);
        while (sem_wait(&semaphore) != 0)
            CHECK(errno == EINTR);
        pthread_join(thread, 0);
    } while (!gate_is_open());
    puts("waited long enough");
    return 0;
}
