/* The umask takes bits from the mode of whatever is made, for all threads. */
#include "program.h"

static mode_t mode_of_new(void) {
    struct stat seen;
    int file = open("new", O_CREAT | O_WRONLY | O_EXCL, 0777);
    CHECK(file >= 0 && fstat(file, &seen) == 0 && close(file) == 0 && unlink("new") == 0);
    return seen.st_mode & 07777;
}

static void *set(void *mask) { return (void *)(uintptr_t)umask((mode_t)(uintptr_t)mask); }

int main(void) {
    umask(0);
    do {
        CHECK(mode_of_new() == 0777 && umask(0137) == 0 && mode_of_new() == 0640);
        CHECK(mkdir("place", 0777) == 0 && rmdir("place") == 0);
        pthread_t other;
        void *before;
        CHECK(pthread_create(&other, NULL, set, (void *)(uintptr_t)0007) == 0);
        CHECK(pthread_join(other, &before) == 0 && (uintptr_t)before == 0137 && mode_of_new() == 0770);
        FILE *status = fopen("/proc/self/status", "r");
        char line[256];
        unsigned seen = 0;
        while (fgets(line, sizeof line, status))
            sscanf(line, "Umask: %o", &seen);
        CHECK(fclose(status) == 0 && seen == 0007 && umask(0) == 0007);
    } while (!gate_is_open());
    return well();
}
