/* A process with System V shared memory stays until it has let go of it. */
#include "program.h"
#include <sched.h>
#include <sys/shm.h>

int main(void) {
    int id = shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600);
    int *shared = shmat(id, NULL, 0);
    CHECK(id >= 0 && shared != (void *)-1 && shmctl(id, IPC_RMID, NULL) == 0);
    pid_t child = fork();
    if (child == 0) {
        *(volatile int *)shared = 12;
        while (*(volatile int *)shared != 13)
            sched_yield();
        _exit(14);
    }
    while (*(volatile int *)shared != 12)
        sched_yield();
    stay();
    *(volatile int *)shared = 13;
    CHECK(exit_status_of(child) == 14 && shmdt(shared) == 0);
    be_free();
    return well();
}
