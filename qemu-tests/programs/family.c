/* A family that works: a parent and its children, each of which counts aloud.

   usage: family FOLDER

   Every member appends "0", "1", "2" ... to the file FOLDER/PID, one line for each piece of work; two copies
   of a member would say a number twice, a copy that began anew would skip or repeat some. The parent begins with
   two children and says "child N PID" for each; it makes another one for each "f" that it reads. When its input
   ends it lets its children end and says how each did. Children end when their parent is gone, too. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN_MAX = 16, FIRST_STATUS = 10 };

static const char *folder;

static void fail(const char *what) {
    dprintf(2, "WRONG: %s in %d\n", what, getpid());
    _exit(99);
}

static int open_count(void) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%d", folder, getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0)
        fail("open");
    return fd;
}

static void work(int count, unsigned *number) {
    volatile uint64_t x = 1;
    for (unsigned i = 0; i < 300000; i++)
        x = x * 6364136223846793005u + 1442695040888963407u;
    if (dprintf(count, "%u\n", (*number)++) < 0)
        fail("write");
}

/* Whether the descriptor can be read, or has ended. */
static bool has_news(int fd) {
    struct pollfd polled = {fd, POLLIN, 0};
    return poll(&polled, 1, 0) == 1;
}

static void be_child(int gate, pid_t parent, int status) {
    unsigned number = 0;
    int count = open_count();
    while (!has_news(gate)) {
        work(count, &number);
        if (number == 1 && getppid() != parent)
            fail("the parent's id");
    }
    _exit(status);
}

int main(int argc, char **arguments) {
    if (argc != 2)
        return 2;
    folder = arguments[1];
    int gate[2], children = 0, count = open_count();
    unsigned number = 0;
    pid_t pids[CHILDREN_MAX];
    if (pipe(gate) != 0)
        return 1;
    for (char command = 'f';;) {
        while (children < 2 || command == 'f') {
            pid_t parent = getpid();
            pids[children] = fork();
            if (pids[children] == 0) {
                close(gate[1]);
                be_child(gate[0], parent, FIRST_STATUS + children);
            }
            dprintf(1, "child %d %d\n", children, pids[children]);
            children++;
            command = 0;
        }
        if (has_news(0) && (read(0, &command, 1) != 1 || children == CHILDREN_MAX))
            break;
        work(count, &number);
    }
    close(gate[1]);
    for (int i = 0; i < children; i++) {
        int status;
        if (waitpid(pids[i], &status, 0) != pids[i])
            fail("waitpid");
        if (WIFSIGNALED(status))
            dprintf(1, "child %d killed by %d\n", i, WTERMSIG(status));
        else
            dprintf(1, "child %d ended with %d\n", i, WEXITSTATUS(status));
    }
    return 0;
}
