/* What a process knows of itself: ids, directory, environment, umask, limits, arguments, name. */
#include "program.h"
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

int main(int count, char **arguments) {
    char here[PATH_MAX], now[PATH_MAX];
    pid_t pid = getpid(), parent = getppid(), group = getpgrp(), session = getsid(0);
    struct utsname name, first;
    CHECK(uname(&first) == 0 && getcwd(here, sizeof here));
    struct rlimit files, seen;
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    unsigned step = 0;
    do {
        step++;
        CHECK(getpid() == pid && getppid() == parent && getpgrp() == group && getsid(0) == session);
        CHECK(syscall(SYS_getpid) == pid && syscall(SYS_gettid) == pid);
        CHECK(getcwd(now, sizeof now) && !strcmp(now, here));
        CHECK(chdir("/usr") == 0 && getcwd(now, sizeof now) && !strcmp(now, "/usr"));
        CHECK(chdir(here) == 0);
        CHECK(setenv("STEP", "value", 1) == 0 && !strcmp(getenv("STEP"), "value"));
        mode_t mask = umask(027);
        CHECK(umask(mask) == 027);
        CHECK(uname(&name) == 0 && !memcmp(&name, &first, sizeof name));
        CHECK(getrlimit(RLIMIT_NOFILE, &seen) == 0 && seen.rlim_cur == files.rlim_cur);
        struct rusage usage;
        CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
        char title[16];
        CHECK(prctl(PR_SET_NAME, step % 2 ? "odd" : "even") == 0 && prctl(PR_GET_NAME, title) == 0);
        CHECK(!strcmp(title, step % 2 ? "odd" : "even"));
        CHECK(sched_getcpu() >= 0);
        CHECK(sysconf(_SC_NPROCESSORS_ONLN) > 0 && get_nprocs() > 0);
        CHECK(count == 1 && strstr(arguments[0], "surroundings"));
        char random[16];
        CHECK(getentropy(random, sizeof random) == 0);
        compute(1, 100);
    } while (!gate_is_open());
    char path[64], link[PATH_MAX] = {0};
    snprintf(path, sizeof path, "/proc/%d/cwd", pid);
    CHECK(readlink(path, link, sizeof link - 1) > 0 && !strcmp(link, here));
    FILE *own = fopen("/proc/self/stat", "r");
    int seen_pid;
    CHECK(own && fscanf(own, "%d", &seen_pid) == 1 && seen_pid == pid);
    puts("the same surroundings");
    return 0;
}
