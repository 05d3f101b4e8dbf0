/* The files of /proc/self tell of the process at home: names, limits, threads, environment. */
#include "program.h"
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static char text[65536];

static size_t read_file(const char *path) {
    int file = open(path, O_RDONLY);
    CHECK(file >= 0);
    size_t length = 0;
    for (ssize_t n; (n = read(file, text + length, sizeof text - 1 - length)) != 0; length += n)
        CHECK(n > 0);
    text[length] = 0;
    CHECK(close(file) == 0);
    return length;
}

static void write_file(const char *path, const char *what) {
    int file = open(path, O_WRONLY);
    CHECK(file >= 0 && write(file, what, strlen(what)) == (ssize_t)strlen(what) && close(file) == 0);
}

static volatile bool done;

static void *name_itself(void *tid) {
    CHECK(prctl(PR_SET_NAME, "second") == 0);
    __atomic_store_n((pid_t *)tid, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
    while (!done)
        sleep_ms(1);
    return NULL;
}

int main(int count, char **arguments) {
    char path[128], name[16];
    do {
        write_file("/proc/self/comm", "written");
        CHECK(prctl(PR_GET_NAME, name) == 0 && !strcmp(name, "written"));
        read_file("/proc/self/comm");
        CHECK(!strcmp(text, "written\n") && count == 1);
        CHECK(read_file("/proc/self/cmdline") == strlen(arguments[0]) + 1 && !strcmp(text, arguments[0]));
        int pid, parent;
        char state;
        read_file("/proc/self/stat");
        CHECK(sscanf(text, "%d (written) %c %d", &pid, &state, &parent) == 3 && state == 'R');
        CHECK(pid == getpid() && parent == getppid());
        write_file("/proc/self/oom_score_adj", "321");
        read_file("/proc/self/oom_score_adj");
        CHECK(!strcmp(text, "321\n"));
        struct rlimit files;
        unsigned long told;
        CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0 && read_file("/proc/self/limits") > 0);
        CHECK(sscanf(strstr(text, "Max open files"), "Max open files %lu", &told) == 1 && told == files.rlim_cur);
        size_t length = read_file("/proc/self/auxv");
        bool found = false;
        for (size_t at = 0; at + 16 <= length; at += 16) {
            uint64_t pair[2];
            memcpy(pair, text + at, sizeof pair);
            found |= pair[0] == AT_RANDOM && pair[1] == getauxval(AT_RANDOM);
        }
        CHECK(found);
        length = read_file("/proc/self/environ");
        const char *locale = memmem(text, length, "LC_ALL=C.UTF-8", 15);
        CHECK(locale && (locale == text || locale[-1] == 0));
        pthread_t other;
        pid_t tid = 0;
        done = false;
        CHECK(pthread_create(&other, NULL, name_itself, &tid) == 0);
        while (!__atomic_load_n(&tid, __ATOMIC_ACQUIRE))
            sleep_ms(1);
        snprintf(path, sizeof path, "/proc/self/task/%d/comm", tid);
        read_file(path);
        CHECK(!strcmp(text, "second\n"));
        write_file(path, "third");
        done = true;
        CHECK(pthread_join(other, NULL) == 0);
    } while (!gate_is_open());
    return well();
}
