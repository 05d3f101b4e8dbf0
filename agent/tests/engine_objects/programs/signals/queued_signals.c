/* Real-time signals with values from another process, in order, to a handler with SA_SIGINFO, while
   computing, and taken by sigtimedwait while blocked. */
#include "program.h"

static volatile unsigned next_value, wrong;
static pid_t child;
static int acknowledge[2];

static void on_signal(int signal, siginfo_t *info, void *context) {
    (void)context;
    if (signal != SIGRTMIN + 1 || info->si_signo != signal || info->si_code != SI_QUEUE ||
        info->si_pid != child || info->si_uid != getuid() ||
        (unsigned)info->si_value.sival_int != next_value)
        wrong++;
    next_value++;
    if (write(acknowledge[1], "a", 1) != 1)
        wrong++;
}

int main(void) {
    CHECK(pipe(acknowledge) == 0);
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    CHECK(sigaction(SIGRTMIN + 1, &action, 0) == 0);
    sigset_t waited;
    sigemptyset(&waited);
    sigaddset(&waited, SIGRTMIN + 2);
    CHECK(sigprocmask(SIG_BLOCK, &waited, 0) == 0);
    int go[2];
    CHECK(pipe(go) == 0);
    pid_t parent = getpid();
    child = fork();
    if (child == 0) {
        char byte;
        close(go[1]);
        close(acknowledge[1]);
        CHECK(read(go[0], &byte, 1) == 1);
        unsigned value = 0;
        do {
            for (int i = 0; i < 3; i++)
                CHECK(sigqueue(parent, SIGRTMIN + 1, (union sigval){.sival_int = (int)value++}) == 0);
            for (int i = 0; i < 3; i++)
                CHECK(read(acknowledge[0], &byte, 1) == 1);
            CHECK(sigqueue(parent, SIGRTMIN + 2, (union sigval){.sival_int = (int)value}) == 0);
            usleep(5000);
        } while (!gate_is_open());
        CHECK(sigqueue(parent, SIGRTMIN + 2, (union sigval){.sival_int = -1}) == 0);
        _exit(0);
    }
    CHECK(write(go[1], "g", 1) == 1);
    uint64_t expected = compute(1, 20);
    unsigned rounds = 0;
    for (;;) {
        CHECK(compute(1, 20) == expected);
        siginfo_t info;
        struct timespec limit = {20, 0};
        int signal;
        while ((signal = sigtimedwait(&waited, &info, &limit)) == -1)
            CHECK(errno == EINTR);
        CHECK(signal == SIGRTMIN + 2 && info.si_pid == child);
        if (info.si_value.sival_int == -1)
            break;
        rounds++;
        CHECK((unsigned)info.si_value.sival_int == rounds * 3 && next_value >= rounds * 3);
    }
    CHECK(wrong == 0 && waitpid(child, 0, 0) == child);
    puts("every signal heard once, in order");
    return 0;
}
