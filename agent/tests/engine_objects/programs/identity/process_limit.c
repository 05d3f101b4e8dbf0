/* A user who has as many processes as RLIMIT_NPROC allows makes neither a process nor a thread. */
#include "program.h"
#include <sys/resource.h>

static void *nothing(void *unused) { return unused; }

int main(void) {
    struct rlimit limit = {1, 10};
    uid_t user = 1000000 + (uid_t)getpid();
    CHECK(setrlimit(RLIMIT_NPROC, &limit) == 0 && setresuid(user, user, user) == 0);
    do {
        pthread_t thread;
        CHECK(fork() == -1 && errno == EAGAIN && pthread_create(&thread, NULL, nothing, NULL) == EAGAIN);
        limit.rlim_cur = 2;
        CHECK(setrlimit(RLIMIT_NPROC, &limit) == 0);
        CHECK(pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0);
        /* The thread that has ended counts for a moment longer. */
        pid_t child;
        while ((child = fork()) == -1)
            CHECK(errno == EAGAIN);
        if (child == 0)
            _exit(fork() == -1 && errno == EAGAIN ? 7 : 8);
        CHECK(child > 0 && exit_status_of(child) == 7);
        limit.rlim_cur = 1;
        CHECK(setrlimit(RLIMIT_NPROC, &limit) == 0);
    } while (!gate_is_open());
    return well();
}
