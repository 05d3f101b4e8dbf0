/* /proc/self/status is what home's kernel says, of a process that nobody traces and no filter confines. */
#include "program.h"
#include <sys/prctl.h>

static char text[8192];

static void read_status(const char *path) {
    int file = open(path, O_RDONLY);
    ssize_t length = read(file, text, sizeof text - 1);
    CHECK(file >= 0 && length > 0);
    text[length] = 0;
    CHECK(read(file, text + length, 1) == 0 && close(file) == 0);
}

static const char *field(const char *name) {
    static char value[256];
    char key[64];
    snprintf(key, sizeof key, "\n%s:\t", name);
    const char *at = strstr(text, key);
    CHECK(at);
    at += strlen(key);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\n"), at);
    return value;
}

static bool is(const char *name, long number) { return strtol(field(name), NULL, 10) == number; }

int main(void) {
    CHECK(prctl(PR_SET_NAME, "a name") == 0);
    do {
        read_status("/proc/self/status");
        CHECK(!strncmp(text, "Name:\ta name\n", 13) && !strcmp(field("State"), "R (running)"));
        CHECK(!strcmp(field("TracerPid"), "0") && !strcmp(field("Seccomp"), "0") && is("NoNewPrivs", 0));
        CHECK(is("Tgid", getpid()) && is("Pid", getpid()) && is("PPid", getppid()) && is("Threads", 1));
        CHECK(is("Uid", getuid()) && is("Gid", getgid()));
        char own[64];
        snprintf(own, sizeof own, "/proc/%d/task/%d/status", getpid(), getpid());
        read_status(own);
        CHECK(!strcmp(field("TracerPid"), "0"));
        FILE *lines = fopen("/proc/self/status", "r");
        char line[256];
        int count = 0;
        while (fgets(line, sizeof line, lines))
            count += !strcmp(line, "TracerPid:\t0\n");
        CHECK(count == 1 && fclose(lines) == 0);
    } while (!gate_is_open());
    return well();
}
