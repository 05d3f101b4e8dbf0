/* Threads map, unmap and fork at the same time, and none disturbs another. */
#include "program.h"
enum { ROUNDS = 15 };

static void *map(void *number) {
    for (unsigned i = 0; i < ROUNDS * 4; i++) {
        size_t length = (1 + i % 7) * 4096;
        unsigned char *area = mmap(0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(area != MAP_FAILED);
        memset(area, (int)(intptr_t)number, length);
        CHECK(mprotect(area, length, PROT_READ) == 0 && area[length - 1] == (unsigned char)(intptr_t)number);
        CHECK(munmap(area, length) == 0);
    }
    return 0;
}

static void *allocate(void *number) {
    char *kept[ROUNDS];
    for (unsigned i = 0; i < ROUNDS; i++) {
        kept[i] = malloc(20000 * (i + 1));
        memset(kept[i], (int)(intptr_t)number + i, 20000 * (i + 1));
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        CHECK(kept[i][19999] == (char)((int)(intptr_t)number + i));
        free(kept[i]);
    }
    return 0;
}

static void *fork_some(void *none) {
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            _exit(i);
        CHECK(exit_status_of(child) == i);
    }
    return none;
}

int main(void) {
    do {
        pthread_t threads[5];
        CHECK(pthread_create(&threads[0], 0, map, (void *)1) == 0 && pthread_create(&threads[1], 0, map, (void *)2) == 0);
        CHECK(pthread_create(&threads[2], 0, allocate, (void *)3) == 0);
        CHECK(pthread_create(&threads[3], 0, allocate, (void *)4) == 0);
        CHECK(pthread_create(&threads[4], 0, fork_some, 0) == 0);
        for (int i = 0; i < 5; i++)
            CHECK(pthread_join(threads[i], 0) == 0);
    } while (!gate_is_open());
    return well();
}
