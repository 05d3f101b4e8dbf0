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

/* Who is just being moved is traced for a moment, natively too. */
static bool is_untraced(const char *path) {
    for (int tries = 0; tries < 100; tries++) {
        read_status(path);
        if (!strcmp(field("TracerPid"), "0"))
            return true;
        sleep_ms(10);
    }
    return false;
}

static bool line_tells_of_no_tracer(void) {
    for (int tries = 0; tries < 100; tries++) {
        FILE *lines = fopen("/proc/self/status", "r");
        char line[256];
        int count = 0;
        while (fgets(line, sizeof line, lines))
            count += !strcmp(line, "TracerPid:\t0\n");
        CHECK(fclose(lines) == 0);
        if (count == 1)
            return true;
        sleep_ms(10);
    }
    return false;
}

int main(void) {
    CHECK(prctl(PR_SET_NAME, "a name") == 0);
    do {
        read_status("/proc/self/status");
        CHECK(!strncmp(text, "Name:\ta name\n", 13) && !strcmp(field("State"), "R (running)"));
        CHECK(!strcmp(field("Seccomp"), "0") && is("NoNewPrivs", 0) && is_untraced("/proc/self/status"));
        CHECK(is("Tgid", getpid()) && is("Pid", getpid()) && is("PPid", getppid()) && is("Threads", 1));
        CHECK(is("Uid", getuid()) && is("Gid", getgid()));
        char own[64];
        snprintf(own, sizeof own, "/proc/%d/task/%d/status", getpid(), getpid());
        CHECK(is_untraced(own) && line_tells_of_no_tracer());
    } while (!gate_is_open());
    return well();
}
