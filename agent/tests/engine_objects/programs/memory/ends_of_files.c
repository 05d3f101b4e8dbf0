/* Behind the end of a file its private view has zeros up to the page's end, and then SIGBUS. */
#include "program.h"
#include <setjmp.h>
#define PAGE 4096ul
static sigjmp_buf touched;
static volatile int code;

static void on_fault(int signal, siginfo_t *info, void *context) {
    (void)context;
    code = signal * 100 + info->si_code;
    siglongjmp(touched, 1);
}

static int fault_at(volatile unsigned char *at) {
    code = 0;
    if (sigsetjmp(touched, 1) == 0)
        (void)*at;
    return code;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGBUS, &action, 0) == 0 && sigaction(SIGSEGV, &action, 0) == 0);
    int fd = open("short", O_RDWR | O_CREAT, 0600);
    char text[PAGE + 100];
    memset(text, 'x', sizeof text);
    CHECK(fd >= 0 && write(fd, text, sizeof text) == sizeof text);
    do {
        unsigned char *view = mmap(0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
        CHECK(view != MAP_FAILED && view[PAGE + 99] == 'x' && view[PAGE + 100] == 0);
        view[0] = 'y';
        compute(1, 30);
        CHECK(fault_at(view + 2 * PAGE) == SIGBUS * 100 + BUS_ADRERR);
        CHECK(view[0] == 'y' && view[1] == 'x' && pread(fd, text, 1, 0) == 1 && text[0] == 'x');
        CHECK(munmap(view, 4 * PAGE) == 0);
        CHECK(fault_at(view) == SIGSEGV * 100 + SEGV_MAPERR);
    } while (!gate_is_open());
    return well();
}
