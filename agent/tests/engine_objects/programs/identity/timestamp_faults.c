/* A thread that may not read the time stamp counter gets SIGSEGV for it wherever it is; others may. */
#include "program.h"
#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <x86intrin.h>

static __thread sigjmp_buf before;

static void on_fault(int signal) { siglongjmp(before, signal); }

static bool faults(void) {
    if (sigsetjmp(before, 1))
        return true;
    return __rdtsc() == 0;
}

static atomic_int done;

static void *another(void *unused) {
    (void)unused;
    while (!done) {
        CHECK(!faults());
        sched_yield();
    }
    return NULL;
}

int main(void) {
    struct sigaction action = {.sa_handler = on_fault};
    pthread_t other;
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0 && pthread_create(&other, NULL, another, NULL) == 0);
    CHECK(prctl(PR_SET_TSC, PR_TSC_SIGSEGV) == 0);
    do {
        int value;
        CHECK(faults() && prctl(PR_GET_TSC, &value) == 0 && value == PR_TSC_SIGSEGV);
    } while (!gate_is_open());
    CHECK(prctl(PR_SET_TSC, PR_TSC_ENABLE) == 0 && !faults());
    done = 1;
    CHECK(pthread_join(other, NULL) == 0);
    return well();
}
