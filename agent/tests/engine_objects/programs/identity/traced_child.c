/* A process traces its child: sees its calls, reads its registers and memory, lets it go. */
#include "program.h"
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

int main(void) {
    do {
        static volatile long word = 1234;
        pid_t child = fork();
        if (child == 0) {
            word = 5678;
            CHECK(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0 && raise(SIGSTOP) == 0);
            CHECK(syscall(SYS_getppid) == 99);
            _exit(9);
        }
        int status;
        CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
        CHECK(ptrace(PTRACE_PEEKDATA, child, &word, 0) == 5678 && word == 1234);
        struct user_regs_struct registers;
        for (;;) {
            CHECK(ptrace(PTRACE_SYSCALL, child, 0, 0) == 0 && waitpid(child, &status, 0) == child);
            CHECK(WIFSTOPPED(status) && ptrace(PTRACE_GETREGS, child, 0, &registers) == 0);
            if (registers.orig_rax == SYS_getppid && (long)registers.rax >= 0)
                break;
        }
        registers.rax = 99;
        CHECK(ptrace(PTRACE_SETREGS, child, 0, &registers) == 0 && ptrace(PTRACE_DETACH, child, 0, 0) == 0);
        CHECK(exit_status_of(child) == 9);
    } while (!gate_is_open());
    return well();
}
