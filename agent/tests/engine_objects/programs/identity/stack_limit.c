/* The stack grows up to RLIMIT_STACK and no further, and further when that is raised. */
#include "program.h"
#include <setjmp.h>
#include <sys/resource.h>

static sigjmp_buf before;

static void on_overflow(int signal) { siglongjmp(before, signal); }

static __attribute__((noinline)) unsigned dig(unsigned kilobytes) {
    volatile char room[1024];
    room[0] = (char)kilobytes;
    unsigned below = kilobytes > 1 ? dig(kilobytes - 1) : 0;
    return below + (room[0] == (char)kilobytes);
}

static bool overflows(unsigned kilobytes) {
    if (sigsetjmp(before, 1))
        return true;
    CHECK(dig(kilobytes) == kilobytes);
    return false;
}

int main(void) {
    static char other_stack[1 << 16];
    stack_t alternate = {.ss_sp = other_stack, .ss_size = sizeof other_stack};
    struct sigaction action = {.sa_handler = on_overflow, .sa_flags = SA_ONSTACK};
    struct rlimit limit;
    CHECK(sigaltstack(&alternate, NULL) == 0 && sigaction(SIGSEGV, &action, NULL) == 0);
    CHECK(getrlimit(RLIMIT_STACK, &limit) == 0);
    limit.rlim_cur = 1 << 20;
    CHECK(setrlimit(RLIMIT_STACK, &limit) == 0);
    do
        CHECK(!overflows(300) && overflows(3000));
    while (!gate_is_open());
    limit.rlim_cur = 8 << 20;
    CHECK(setrlimit(RLIMIT_STACK, &limit) == 0 && !overflows(3000));
    return well();
}
