/* What another process sends while the program blocks and unblocks its signals at any moment is never lost, and is seen
   wherever blocked signals are seen: sigpending, sigtimedwait, signalfd, sigsuspend. The sender waits for each signal to be
   answered before it sends the next. */
#include "program.h"
#include <sys/signalfd.h>

static volatile unsigned heard;
static int answers[2];

static void answer(void) { CHECK(write(answers[1], "a", 1) == 1); }

static void on_signal(int signal) {
    (void)signal;
    heard++;
}

int main(void) {
    CHECK(pipe(answers) == 0);
    struct sigaction action = {.sa_handler = on_signal};
    CHECK(sigaction(SIGUSR1, &action, 0) == 0);
    pid_t parent = getpid(), sender = fork();
    if (sender == 0) {
        close(answers[1]);
        char byte;
        do
            if (kill(parent, SIGUSR1) != 0)
                _exit(0);
        while (read(answers[0], &byte, 1) == 1);
        _exit(0);
    }
    sigset_t users, before, pending;
    sigemptyset(&users);
    sigaddset(&users, SIGUSR1);
    int descriptor = signalfd(-1, &users, SFD_NONBLOCK);
    CHECK(descriptor >= 0);
    unsigned round = 0;
    do {
        /* Until the signal comes, which may be while it is blocked or not. */
        bool taken = false;
        while (!taken) {
            CHECK(sigprocmask(SIG_BLOCK, &users, &before) == 0);
            if (heard) {
                taken = true;
            } else {
                CHECK(sigpending(&pending) == 0);
                bool is_pending = sigismember(&pending, SIGUSR1);
                struct signalfd_siginfo info;
                struct timespec none = {0, 0};
                siginfo_t waited;
                switch (round % 3) {
                case 0:
                    if (read(descriptor, &info, sizeof info) == sizeof info) {
                        CHECK(info.ssi_signo == SIGUSR1 && info.ssi_pid == (unsigned)sender);
                        taken = true;
                    }
                    CHECK(taken || !is_pending);
                    break;
                case 1:
                    if (sigtimedwait(&users, &waited, &none) == SIGUSR1) {
                        CHECK(waited.si_pid == sender && waited.si_code == SI_USER);
                        taken = true;
                    }
                    CHECK(taken || !is_pending);
                    break;
                default:
                    CHECK(sigsuspend(&before) == -1 && errno == EINTR && heard == 1);
                    taken = true;
                }
            }
            CHECK(sigprocmask(SIG_SETMASK, &before, 0) == 0);
            if (heard)
                taken = true;
        }
        CHECK(heard <= 1);
        round++;
        heard = 0;
        answer();
    } while (round < 30 || !gate_is_open());
    CHECK(kill(sender, SIGKILL) == 0 && waitpid(sender, 0, 0) == sender);
    puts("each signal was taken once");
    return 0;
}
