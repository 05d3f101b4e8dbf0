/* What was told to the kernel about memory holds wherever the program is: what a child gets, what is locked, what
   must never be touched. */
#include "program.h"
#include <setjmp.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

#define PAGE 4096ul

static sigjmp_buf touched;

static void on_fault(int signal) {
    (void)signal;
    siglongjmp(touched, 1);
}

static bool can_be_read(volatile unsigned char *byte) {
    if (sigsetjmp(touched, 1) != 0)
        return false;
    (void)*byte;
    return true;
}

static unsigned char *area(size_t pages, int advice) {
    unsigned char *made =
        mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(made != MAP_FAILED);
    memset(made, 1, pages * PAGE);
    if (advice >= 0)
        CHECK(madvise(made, pages * PAGE, advice) == 0);
    return made;
}

/* What a child finds: bit 0 the first area, bit 1 the second one wiped. */
static int seen_by_child(unsigned char *not_for_children, unsigned char *wiped) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(can_be_read(not_for_children) | (wiped[0] == 0) << 1);
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status);
}

int main(void) {
    CHECK(signal(SIGSEGV, on_fault) != SIG_ERR);
    unsigned char *early = area(2, MADV_DONTFORK);
    unsigned char *early_wiped = area(2, MADV_WIPEONFORK);
    unsigned char *locked = area(4, -1);
    CHECK(mlock(locked, 2 * PAGE) == 0 && mlock2(locked + 2 * PAGE, PAGE, MLOCK_ONFAULT) == 0);
    unsigned char *guarded = area(8, -1);
    bool has_guards = madvise(guarded + 2 * PAGE, PAGE, MADV_GUARD_INSTALL) == 0;
    unsigned char *late = area(2, -1), *late_wiped = area(2, -1);
    unsigned round = 0;
    do {
        round++;
        int on = round % 2 != 0;
        CHECK(madvise(late, 2 * PAGE, on ? MADV_DONTFORK : MADV_DOFORK) == 0);
        CHECK(madvise(late_wiped, 2 * PAGE, on ? MADV_WIPEONFORK : MADV_KEEPONFORK) == 0);
        CHECK(madvise(late, PAGE, MADV_NOHUGEPAGE) == 0 || errno == EINVAL);
        CHECK(mlock(late, PAGE) == 0);
        compute(1, 400);
        CHECK(munlock(late, PAGE) == 0);
        if (has_guards) {
            CHECK(!can_be_read(guarded + 2 * PAGE) && guarded[PAGE] == 1 && guarded[3 * PAGE] == 1);
            CHECK(madvise(guarded + (4 + round % 3) * PAGE, PAGE, MADV_GUARD_INSTALL) == 0);
            compute(2, 400);
            CHECK(!can_be_read(guarded + (4 + round % 3) * PAGE));
            CHECK(madvise(guarded + (4 + round % 3) * PAGE, PAGE, MADV_GUARD_REMOVE) == 0);
            CHECK(guarded[(4 + round % 3) * PAGE] == 0 && guarded[7 * PAGE] == 1);
        }
        CHECK(locked[0] == 1 && locked[3 * PAGE] == 1);
    } while (!gate_is_open());
    CHECK(seen_by_child(early, early_wiped) == 2);
    CHECK(seen_by_child(late, late_wiped) == (round % 2 != 0 ? 2 : 1));
    CHECK(mlockall(MCL_CURRENT) == 0 && munlockall() == 0);
    puts("told once, kept everywhere");
    return 0;
}
