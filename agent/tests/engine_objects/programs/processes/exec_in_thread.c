/* A thread that is not the first executes a program: it gets the process's id, and the others are gone. */
#include "program.h"

static void *execute(void *id) {
    execl("/proc/self/exe", "again", (char *)id, (char *)0);
    _exit(errno);
}

static void *wait_for_ever(void *none) {
    while (true)
        pause();
    return none;
}

int main(int count, char **words) {
    if (count > 1) {
        CHECK(getpid() == atoi(words[1]) && gettid() == getpid());
        DIR *tasks = opendir("/proc/self/task");
        int threads = 0;
        for (struct dirent *entry; (entry = readdir(tasks));)
            threads += entry->d_name[0] != '.';
        CHECK(threads == 1);
        return 38;
    }
    do {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            char id[12];
            snprintf(id, sizeof id, "%d", getpid());
            pthread_t threads[3];
            for (int i = 0; i < 3; i++)
                CHECK(pthread_create(&threads[i], 0, i < 2 ? wait_for_ever : execute, id) == 0);
            wait_for_ever(0);
        }
        CHECK(exit_status_of(child) == 38);
    } while (!gate_is_open());
    return well();
}
