/* A thread blocked in a read, one in accept, one asleep, while others compute. */
#include "program.h"
#include <sys/socket.h>
#include <sys/un.h>

static int numbers[2], listener;
static unsigned stop, reads;

static void *reader(void *argument) {
    (void)argument;
    unsigned expected = 0, number;
    while (read(numbers[0], &number, sizeof number) == sizeof number) {
        CHECK(number == expected);
        expected++;
        __atomic_add_fetch(&reads, 1, __ATOMIC_SEQ_CST);
    }
    return (void *)(uintptr_t)expected;
}

static void *accepting(void *argument) {
    (void)argument;
    int connection = accept(listener, 0, 0);
    CHECK(connection >= 0);
    char byte;
    CHECK(read(connection, &byte, 1) == 1 && byte == 'c');
    return 0;
}

static void *sleeper(void *argument) {
    (void)argument;
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
        CHECK(usleep(150000) == 0);
        uint64_t now = now_ns(CLOCK_MONOTONIC);
        CHECK(now - start >= 150000000);
        start = now;
    }
    return 0;
}

static void *computing(void *argument) {
    uint64_t expected = compute((uintptr_t)argument, 30);
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST))
        CHECK(compute((uintptr_t)argument, 30) == expected);
    return 0;
}

int main(void) {
    struct sockaddr_un address = {AF_UNIX, {0}};
    snprintf(address.sun_path + 1, 60, "limosa-blocked-thread-%d", getpid());
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(listener, (void *)&address, sizeof address) == 0 && listen(listener, 1) == 0);
    CHECK(pipe(numbers) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(numbers[0]);
        for (unsigned number = 0; number < 1 || !gate_is_open(); number++) {
            CHECK(write(numbers[1], &number, sizeof number) == sizeof number);
            usleep(30000);
        }
        int connection = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK(connect(connection, (void *)&address, sizeof address) == 0);
        CHECK(write(connection, "c", 1) == 1);
        _exit(0);
    }
    close(numbers[1]);
    pthread_t threads[5];
    pthread_create(&threads[0], 0, reader, 0);
    pthread_create(&threads[1], 0, accepting, 0);
    pthread_create(&threads[2], 0, sleeper, 0);
    pthread_create(&threads[3], 0, computing, (void *)1);
    pthread_create(&threads[4], 0, computing, (void *)2);
    CHECK(waitpid(child, 0, 0) == child);
    CHECK(gate_is_open());
    stop = 1;
    void *count;
    CHECK(pthread_join(threads[0], &count) == 0 && (uintptr_t)count == reads);
    for (int i = 1; i < 5; i++)
        CHECK(pthread_join(threads[i], 0) == 0);
    puts("nobody was held up");
    return 0;
}
