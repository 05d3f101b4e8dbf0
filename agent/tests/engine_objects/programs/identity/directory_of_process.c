/* The working directory is one for all threads, can be renamed and removed, and can be come back to. */
#include "program.h"

static void *enter(void *name) {
    CHECK(chdir(name) == 0);
    return NULL;
}

int main(void) {
    char start[PATH_MAX], here[PATH_MAX], link[PATH_MAX];
    CHECK(getcwd(start, sizeof start));
    int back = open(".", O_RDONLY | O_DIRECTORY);
    do {
        pthread_t other;
        CHECK(mkdir("inner", 0700) == 0 && pthread_create(&other, NULL, enter, "inner") == 0);
        CHECK(pthread_join(other, NULL) == 0 && getcwd(here, sizeof here) && !strcmp(strrchr(here, '/'), "/inner"));
        CHECK(rename("../inner", "../renamed") == 0 && getcwd(here, sizeof here));
        CHECK(!strcmp(strrchr(here, '/'), "/renamed"));
        memset(link, 0, sizeof link);
        CHECK(readlink("/proc/self/cwd", link, sizeof link) > 0 && !strcmp(link, here));
        make_file("file", "text");
        CHECK(access("../renamed/file", F_OK) == 0 && unlink("file") == 0 && rmdir("../renamed") == 0);
        CHECK(!getcwd(here, sizeof here) && errno == ENOENT && open("file", O_CREAT, 0600) == -1);
        CHECK(fchdir(back) == 0 && getcwd(here, sizeof here) && !strcmp(here, start));
        CHECK(chdir("nowhere") == -1 && errno == ENOENT);
    } while (!gate_is_open());
    return well();
}
