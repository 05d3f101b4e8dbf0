/* The bases of the FS and GS segments are each thread's own. */
#include "program.h"
#include <asm/prctl.h>
#include <sys/syscall.h>

static void *use(void *unused) {
    (void)unused;
    uint64_t place = 0x1122334455667788u, base, fs;
    CHECK(syscall(SYS_arch_prctl, ARCH_SET_GS, &place) == 0);
    for (int i = 0; i < 20; i++) {
        uint64_t seen;
        compute(1, 10);
        __asm__ volatile("mov %%gs:0, %0" : "=r"(seen));
        CHECK(seen == place && syscall(SYS_arch_prctl, ARCH_GET_GS, &base) == 0 && base == (uintptr_t)&place);
        CHECK(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs) == 0 && fs == (uintptr_t)__builtin_thread_pointer());
    }
    CHECK(syscall(SYS_arch_prctl, ARCH_SET_GS, 0) == 0);
    return NULL;
}

int main(void) {
    do {
        pthread_t other;
        CHECK(pthread_create(&other, NULL, use, NULL) == 0);
        use(NULL);
        CHECK(pthread_join(other, NULL) == 0);
    } while (!gate_is_open());
    return well();
}
