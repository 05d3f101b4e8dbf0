/* A process that has given up root's rights never gets them back, and its signal at its parent's death is off. */
#include "program.h"
#include <grp.h>
#include <sys/prctl.h>

int main(void) {
    const uid_t user = 23456;
    int wanted = 0;
    make_file("secret", "for root");
    CHECK(chmod("secret", 0600) == 0 && chmod(".", 0777) == 0);
    CHECK(prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && prctl(PR_GET_PDEATHSIG, &wanted) == 0 && wanted == SIGTERM);
    CHECK(setgroups(0, NULL) == 0 && setgid(user) == 0 && setuid(user) == 0);
    do {
        CHECK(prctl(PR_GET_PDEATHSIG, &wanted) == 0 && wanted == 0);
        CHECK(setuid(0) == -1 && errno == EPERM && seteuid(0) == -1 && setgid(0) == -1);
        CHECK(getuid() == user && geteuid() == user && getgid() == user && getgroups(0, NULL) == 0);
        CHECK(open("secret", O_RDONLY) == -1 && errno == EACCES);
        CHECK(chown("secret", user, user) == -1 && errno == EPERM && kill(1, 0) == -1 && errno == EPERM);
        make_file("own", "mine");
        struct stat own;
        CHECK(stat("own", &own) == 0 && own.st_uid == user && own.st_gid == user && unlink("own") == 0);
        compute(1, 50);
    } while (!gate_is_open());
    return well();
}
