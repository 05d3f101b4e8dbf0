/* A blocked read and a signal: EINTR without SA_RESTART; with it the read goes on. A sleep that is
   interrupted says what remained. The sender repeats its signal until it has had its effect, because
   nothing says when the other process blocks. */
#include "program.h"

static volatile unsigned first, second;
static int data[2], tell[2];

static void on_signal(int signal) {
    if (signal == SIGUSR1)
        first++;
    else
        second++;
}

static void told(char wanted) {
    char byte;
    CHECK(read(tell[0], &byte, 1) == 1 && byte == wanted);
}

static void signal_until_told(pid_t process, int signal, char wanted) {
    struct pollfd answer = {tell[0], POLLIN, 0};
    do
        CHECK(kill(process, signal) == 0);
    while (poll(&answer, 1, 10) == 0);
    told(wanted);
}

int main(void) {
    CHECK(pipe(data) == 0 && pipe(tell) == 0);
    struct sigaction action = {.sa_handler = on_signal};
    CHECK(sigaction(SIGUSR1, &action, 0) == 0);
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGUSR2, &action, 0) == 0);
    sigset_t users;
    sigemptyset(&users);
    sigaddset(&users, SIGUSR1);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        close(data[0]);
        close(tell[1]);
        bool last;
        do {
            last = gate_is_open();
            signal_until_told(parent, SIGUSR1, 'i');
            for (int i = 0; i < 3; i++) {
                CHECK(kill(parent, SIGUSR2) == 0);
                usleep(10000);
            }
            CHECK(write(data[1], last ? "l" : "d", 1) == 1);
            told('d');
            signal_until_told(parent, SIGUSR1, 's');
        } while (!last);
        _exit(0);
    }
    char byte = 0;
    do {
        unsigned before = first;
        CHECK(read(data[0], &byte, 1) == -1 && errno == EINTR && first > before);
        CHECK(sigprocmask(SIG_BLOCK, &users, 0) == 0);
        before = second;
        CHECK(write(tell[1], "i", 1) == 1);
        CHECK(read(data[0], &byte, 1) == 1 && second > before);
        CHECK(byte == 'd' || byte == 'l');
        CHECK(sigprocmask(SIG_UNBLOCK, &users, 0) == 0);
        before = first;
        CHECK(write(tell[1], "d", 1) == 1);
        struct timespec wait = {100, 0}, remaining = {0, 0};
        CHECK(nanosleep(&wait, &remaining) == -1 && errno == EINTR && first > before);
        CHECK(remaining.tv_sec >= 60 && remaining.tv_sec <= 100);
        CHECK(sigprocmask(SIG_BLOCK, &users, 0) == 0);
        CHECK(write(tell[1], "s", 1) == 1);
        CHECK(sigprocmask(SIG_UNBLOCK, &users, 0) == 0);
    } while (byte != 'l');
    // The child may send once more before it reads that it was told.
    CHECK(sigprocmask(SIG_BLOCK, &users, 0) == 0);
    CHECK(waitpid(child, 0, 0) == child);
    puts("interrupted as expected");
    return 0;
}
