/* A process whose children will live in another pid namespace stays until that is changed back. */
#include "program.h"
#include <sched.h>

int main(void) {
    int own = open("/proc/self/ns/pid", O_RDONLY);
    CHECK(own >= 0 && unshare(CLONE_NEWPID) == 0);
    stay();
    pid_t child = fork();
    if (child == 0)
        _exit(getpid() == 1 ? 41 : 42);
    CHECK(child > 1 && exit_status_of(child) == 41 && setns(own, CLONE_NEWPID) == 0 && close(own) == 0);
    child = fork();
    if (child == 0)
        _exit(getpid() > 1 ? 43 : 44);
    CHECK(exit_status_of(child) == 43);
    be_free();
    return well();
}
