/* A handler runs on its alternate stack, which is disarmed while SS_AUTODISARM says so. */
#include "program.h"
enum { SIZE = 65536 };
static char *stack;
static volatile int heard;

static void on_signal(int signal) {
    char here;
    stack_t now;
    CHECK(&here >= stack && &here < stack + SIZE && sigaltstack(0, &now) == 0);
    if (signal == SIGUSR1)
        CHECK(now.ss_flags == SS_ONSTACK && sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, 0) == -1 && errno == EPERM);
    else
        CHECK(now.ss_flags == SS_DISABLE);
    heard++;
}

int main(void) {
    stack = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    CHECK(sigaction(SIGUSR1, &action, 0) == 0 && sigaction(SIGUSR2, &action, 0) == 0);
    do {
        stack_t seen, plain = {.ss_sp = stack, .ss_size = SIZE};
        stack_t disarming = {.ss_sp = stack, .ss_size = SIZE, .ss_flags = 1 << 31};
        heard = 0;
        CHECK(sigaltstack(&plain, 0) == 0 && kill(getpid(), SIGUSR1) == 0 && heard == 1);
        CHECK(sigaltstack(&disarming, &seen) == 0 && seen.ss_sp == stack && seen.ss_flags == 0);
        CHECK(kill(getpid(), SIGUSR2) == 0 && heard == 2);
        CHECK(sigaltstack(0, &seen) == 0 && seen.ss_sp == stack && seen.ss_flags == 1 << 31);
        CHECK(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = 10}, 0) == -1 && errno == ENOMEM);
        CHECK(sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, 0) == 0);
    } while (!gate_is_open());
    return well();
}
