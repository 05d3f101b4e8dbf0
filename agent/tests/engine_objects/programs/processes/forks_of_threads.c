/* A child has only the thread that forked it; what was registered for forks runs before and after. */
#include "program.h"
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile int befores, in_parent, in_child, stop;

static void before(void) {
    befores++;
}

static void for_parent(void) {
    in_parent++;
}

static void for_child(void) {
    in_child++;
}

static void *busy(void *none) {
    while (!stop) {
        CHECK(pthread_mutex_lock(&lock) == 0);
        compute(1, 1);
        CHECK(pthread_mutex_unlock(&lock) == 0);
        sched_yield();
    }
    return none;
}

static void *forks(void *none) {
    int children = in_child, parents = in_parent;
    pid_t process = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(gettid() == getpid() && getppid() == process && in_child == children + 1 && in_parent == parents);
        DIR *tasks = opendir("/proc/self/task");
        int threads = 0;
        for (struct dirent *entry; (entry = readdir(tasks));)
            threads += entry->d_name[0] != '.';
        CHECK(threads == 1 && closedir(tasks) == 0);
        pthread_t thread;
        stop = 1;
        CHECK(pthread_mutex_init(&lock, 0) == 0 && pthread_create(&thread, 0, busy, 0) == 0);
        CHECK(pthread_join(thread, 0) == 0);
        _exit(23);
    }
    CHECK(exit_status_of(child) == 23 && in_parent == parents + 1 && in_child == children);
    return none;
}

int main(void) {
    CHECK(pthread_atfork(before, for_parent, for_child) == 0);
    pthread_t working[2], forking;
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&working[i], 0, busy, 0) == 0);
    do {
        CHECK(pthread_create(&forking, 0, forks, 0) == 0 && pthread_join(forking, 0) == 0);
    } while (!gate_is_open());
    stop = 1;
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(working[i], 0) == 0);
    CHECK(befores == in_parent);
    return well();
}
