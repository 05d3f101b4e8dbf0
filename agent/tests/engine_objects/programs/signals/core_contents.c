/* A core dump is of what the program has in memory, be it where it may. */
#include "program.h"
#include <sys/resource.h>

enum { MARKS = 512 };

/* Not to be found in the program's own file. */
static uint64_t mark(unsigned number, pid_t parent) {
    return 0x9e3779b97f4a7c15u * (number + 1) ^ (uint64_t)parent << 40;
}

static bool has_marks(const char *name) {
    FILE *file = fopen(name, "r");
    CHECK(file);
    uint64_t word;
    unsigned seen = 0;
    while (seen < MARKS && fread(&word, sizeof word, 1, file) == 1)
        seen = word == mark(seen, getpid()) ? seen + 1 : 0;
    CHECK(fclose(file) == 0);
    return seen == MARKS;
}

int main(void) {
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    CHECK(setrlimit(RLIMIT_CORE, &limit) == 0);
    char pattern[16] = "";
    int fd = open("/proc/sys/kernel/core_pattern", O_RDONLY);
    CHECK(fd >= 0 && read(fd, pattern, sizeof pattern - 1) > 0 && close(fd) == 0);
    bool is_here = strcmp(pattern, "core\n") == 0;
    do {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            uint64_t *marks = malloc(MARKS * sizeof *marks);
            CHECK(marks);
            for (unsigned number = 0; number < MARKS; number++)
                marks[number] = mark(number, getppid());
            abort();
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && WCOREDUMP(status));
        if (is_here) {
            char name[32];
            snprintf(name, sizeof name, access("core", F_OK) == 0 ? "core" : "core.%d", child);
            CHECK(has_marks(name) && unlink(name) == 0);
        }
    } while (!gate_is_open());
    return well();
}
