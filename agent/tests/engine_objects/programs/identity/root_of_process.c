/* A process can have another root directory, and names begin there. */
#include "program.h"

int main(void) {
    char link[PATH_MAX];
    int outside = open("/", O_RDONLY | O_DIRECTORY), start = open(".", O_RDONLY | O_DIRECTORY);
    CHECK(outside >= 0 && start >= 0 && mkdir("root", 0755) == 0);
    make_file("root/marker", "inside");
    do {
        CHECK(chroot("root") == 0 && chdir("/") == 0 && access("/marker", F_OK) == 0);
        CHECK(access("/proc", F_OK) == -1 && errno == ENOENT && access("/../marker", F_OK) == 0);
        CHECK(getcwd(link, sizeof link) && !strcmp(link, "/"));
        CHECK(fchdir(outside) == 0 && chroot(".") == 0 && access("/proc", F_OK) == 0);
        memset(link, 0, sizeof link);
        CHECK(readlink("/proc/self/root", link, sizeof link) == 1 && !strcmp(link, "/") && fchdir(start) == 0);
    } while (!gate_is_open());
    return well();
}
