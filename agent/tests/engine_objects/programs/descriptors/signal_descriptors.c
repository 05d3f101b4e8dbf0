/* Signalfd gives blocked signals as data, with all that siginfo tells. */
#include "program.h"
#include <sys/signalfd.h>

int main(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 2);
    CHECK(sigprocmask(SIG_BLOCK, &set, 0) == 0);
    int fd = signalfd(-1, &set, SFD_NONBLOCK);
    CHECK(fd >= 0);
    do {
        struct signalfd_siginfo seen[3];
        CHECK(read(fd, seen, sizeof seen) == -1 && errno == EAGAIN);
        CHECK(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 41}) == 0);
        CHECK(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 42}) == 0);
        CHECK(kill(getpid(), SIGUSR1) == 0);
        struct pollfd wanted = {fd, POLLIN, 0};
        CHECK(poll(&wanted, 1, 0) == 1 && read(fd, seen, sizeof seen) == sizeof seen);
        CHECK(seen[0].ssi_signo == SIGUSR1 && seen[0].ssi_code == SI_USER);
        CHECK(seen[0].ssi_pid == (uint32_t)getpid() && seen[0].ssi_uid == getuid());
        CHECK(seen[1].ssi_signo == (uint32_t)SIGRTMIN + 2 && seen[1].ssi_code == SI_QUEUE);
        CHECK(seen[1].ssi_int == 41 && seen[2].ssi_int == 42);
        sigset_t pending;
        CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGUSR1));
        sigdelset(&set, SIGUSR1);
        CHECK(signalfd(fd, &set, 0) == fd && kill(getpid(), SIGUSR1) == 0);
        CHECK(read(fd, seen, sizeof seen) == -1 && errno == EAGAIN);
        sigaddset(&set, SIGUSR1);
        CHECK(signalfd(fd, &set, 0) == fd && read(fd, seen, sizeof seen) == sizeof *seen);
    } while (!gate_is_open());
    return well();
}
