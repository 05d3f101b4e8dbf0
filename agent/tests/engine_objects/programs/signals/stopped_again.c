/* Stopped and continued at any moment, a program does all that it has to do, and nothing of it twice. */
#include "program.h"

static volatile bool is_over;

static void *count(void *counter) {
    while (!is_over)
        ++*(volatile uint64_t *)counter;
    return 0;
}

static void *name_itself(void *unused) {
    (void)unused;
    return (void *)pthread_self();
}

/* Until the other end of `until` is closed. */
_Noreturn static void stop_again_and_again(pid_t process, int until) {
    unsigned draw = 1;
    struct pollfd end = {until, POLLIN, 0};
    while (poll(&end, 1, 0) == 0) {
        kill(process, SIGSTOP);
        usleep(100 + (draw = draw * 69069 + 1) % 1000);
        kill(process, SIGCONT);
        usleep(3000 + (draw = draw * 69069 + 1) % 10000);
    }
    _exit(0);
}

int main(void) {
    int end[2], queue[2];
    CHECK(pipe(end) == 0);
    pid_t self = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(end[1]);
        stop_again_and_again(self, end[0]);
    }
    CHECK(pipe(queue) == 0);
    uint64_t counter = 0;
    pthread_t counting;
    CHECK(pthread_create(&counting, 0, count, &counter) == 0);
    for (unsigned round = 0; round < 20 || !gate_is_open(); round++) {
        unsigned out[4] = {round, ~round, round * 3, 7}, in[4] = {0};
        CHECK(write(queue[1], out, sizeof out) == sizeof out);
        CHECK(read(queue[0], in, sizeof in) == sizeof in && memcmp(in, out, sizeof in) == 0);
        struct timespec wait = {0, 1000000};
        CHECK(nanosleep(&wait, 0) == 0);
        struct pollfd wanted = {queue[0], POLLIN, 0};
        CHECK(poll(&wanted, 1, 1) == 0);
        struct sigaction action = {.sa_handler = round % 2 ? SIG_IGN : SIG_DFL}, old;
        CHECK(sigaction(SIGUSR1, &action, &old) == 0);
        CHECK(round == 0 || old.sa_handler == (round % 2 ? SIG_DFL : SIG_IGN));
        sigset_t set, before;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR2);
        CHECK(sigprocmask(round % 2 ? SIG_UNBLOCK : SIG_BLOCK, &set, &before) == 0);
        CHECK(sigismember(&before, SIGUSR2) == (round % 2 == 1));
        char *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(page != MAP_FAILED);
        memset(page, (int)round, 8192);
        CHECK(page[8191] == (char)round && munmap(page, 8192) == 0);
        pthread_t thread;
        void *result;
        CHECK(pthread_create(&thread, 0, name_itself, 0) == 0);
        CHECK(pthread_join(thread, &result) == 0 && result == (void *)thread);
    }
    is_over = true;
    CHECK(pthread_join(counting, 0) == 0 && counter > 0);
    CHECK(close(end[1]) == 0 && exit_status_of(child) == 0);
    return well();
}
