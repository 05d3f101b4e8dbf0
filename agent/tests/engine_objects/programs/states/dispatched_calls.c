/* A process whose system calls become signals of its own stays until it has switched that off. */
#include "program.h"
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF 0
#define PR_SYS_DISPATCH_ON 1
#endif

static volatile char selector;
static volatile sig_atomic_t dispatched;

static void on_call(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    selector = 0;
    dispatched = info->si_syscall;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGSYS, &action, NULL) == 0);
    CHECK(prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0, &selector) == 0);
    stay();
    selector = 1;
    syscall(SYS_getppid);
    CHECK(dispatched == SYS_getppid && selector == 0);
    CHECK(prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0) == 0);
    be_free();
    return well();
}
