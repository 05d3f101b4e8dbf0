/* A collector protects its heap, and learns by faults which pages are written. */
#include "program.h"
#define PAGE 4096ul
enum { PAGES = 64 };
static unsigned char *heap;
static volatile unsigned char dirty[PAGES];
static volatile int faults;

static void on_fault(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    size_t page = ((unsigned char *)info->si_addr - heap) / PAGE;
    if (page >= PAGES || info->si_code != SEGV_ACCERR || dirty[page])
        _exit(98);
    dirty[page] = 1;
    faults++;
    if (mprotect(heap + page * PAGE, PAGE, PROT_READ | PROT_WRITE) != 0)
        _exit(97);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGSEGV, &action, 0) == 0);
    heap = mmap(0, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(heap != MAP_FAILED);
    unsigned round = 0;
    do {
        round++;
        faults = 0;
        memset((void *)dirty, 0, PAGES);
        CHECK(mprotect(heap, PAGES * PAGE, PROT_READ) == 0);
        int wanted = 0;
        for (unsigned page = round % 3; page < PAGES; page += 3, wanted++) {
            heap[page * PAGE + 1] = round;
            heap[page * PAGE + 2] = round;
        }
        CHECK(faults == wanted);
        for (unsigned page = 0; page < PAGES; page++)
            CHECK(dirty[page] == (page % 3 == round % 3));
        compute(1, 30);
    } while (!gate_is_open());
    return well();
}
