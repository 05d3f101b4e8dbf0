/* RLIMIT_SIGPENDING limits what is queued. */
#include "program.h"
#include <sys/resource.h>

int main(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 5);
    CHECK(sigprocmask(SIG_BLOCK, &set, 0) == 0);
    // The limit counts what all processes of the user have queued: one of its own.
    CHECK(setresuid(54321, 54321, 54321) == 0);
    do {
        struct rlimit limit = {5, 5};
        CHECK(setrlimit(RLIMIT_SIGPENDING, &limit) == 0);
        int count = 0;
        while (sigqueue(getpid(), SIGRTMIN + 5, (union sigval){.sival_int = count}) == 0)
            CHECK(++count <= 5);
        CHECK(errno == EAGAIN && count > 0);
        siginfo_t info;
        struct timespec none = {0, 0};
        for (int i = 0; i < count; i++)
            CHECK(sigtimedwait(&set, &info, &none) == SIGRTMIN + 5 && info.si_value.sival_int == i);
        CHECK(sigtimedwait(&set, &info, &none) == -1 && errno == EAGAIN);
    } while (!gate_is_open());
    return well();
}
