/* A process ends with its last thread, or with any that calls exit, whatever the others do. */
#include "program.h"

static void *sleep_on(void *none) {
    while (true)
        pause();
    return none;
}

static void *end_process(void *status) {
    compute(1, 5);
    exit((int)(intptr_t)status);
}

static void *outlive(void *first) {
    CHECK(pthread_join(*(pthread_t *)first, 0) == 0);
    compute(1, 5);
    return 0;
}

static int in_child(int kind) {
    static pthread_t self;
    pthread_t thread;
    self = pthread_self();
    if (kind == 0) {
        CHECK(pthread_create(&thread, 0, sleep_on, 0) == 0 && pthread_create(&thread, 0, end_process, (void *)44) == 0);
        sleep_on(0);
    }
    if (kind == 1) {
        CHECK(pthread_create(&thread, 0, outlive, &self) == 0);
        pthread_exit(0);
    }
    CHECK(pthread_create(&thread, 0, sleep_on, 0) == 0);
    _exit(45);
}

int main(void) {
    do {
        for (int kind = 0; kind < 3; kind++) {
            pid_t child = fork();
            CHECK(child >= 0);
            if (child == 0)
                in_child(kind);
            const int wanted[] = {44, 0, 45};
            CHECK(exit_status_of(child) == wanted[kind]);
        }
    } while (!gate_is_open());
    return well();
}
