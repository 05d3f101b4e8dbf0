/* /proc/self is the process that home knows. */
#include "program.h"
int main(void) {
    char text[256], path[PATH_MAX], here[PATH_MAX];
    CHECK(getcwd(here, sizeof here));
    do {
        snprintf(text, sizeof text, "%d", getpid());
        memset(path, 0, sizeof path);
        CHECK(readlink("/proc/self", path, sizeof path) > 0 && !strcmp(path, text));
        memset(path, 0, sizeof path);
        CHECK(readlink("/proc/self/cwd", path, sizeof path) > 0 && !strcmp(path, here));
        memset(path, 0, sizeof path);
        CHECK(readlink("/proc/self/exe", path, sizeof path) > 0 && strstr(path, "proc_self"));
        memset(path, 0, sizeof path);
        CHECK(readlink("/proc/self/fd/0", path, sizeof path) > 0 && !strcmp(path, "/dev/null"));
        int fd = open("/proc/self/cmdline", O_RDONLY);
        ssize_t n = read(fd, text, sizeof text - 1);
        CHECK(n > 0 && strnlen(text, n) == (size_t)n - 1 && strstr(text, "proc_self") && close(fd) == 0);
        FILE *status = fopen("/proc/self/status", "r");
        int parent = 0, threads = 0;
        while (fgets(text, sizeof text, status))
            if (!sscanf(text, "PPid: %d", &parent))
                sscanf(text, "Threads: %d", &threads);
        CHECK(parent == getppid() && threads == 1 && fclose(status) == 0);
        CHECK(access("/proc/self/fd/99", F_OK) == -1 && access("/proc/self/task", F_OK) == 0);
        int own = open("/proc/self/fd/0", O_RDONLY);
        CHECK(own >= 0 && read(own, text, 1) == 0 && close(own) == 0);
    } while (!gate_is_open());
    return well();
}
