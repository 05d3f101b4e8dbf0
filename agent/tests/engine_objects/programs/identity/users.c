/* A process that may switch between users has their rights, one at a time, and can switch back. */
#include "program.h"
#include <sys/fsuid.h>

static void check_ids(uid_t real, uid_t effective, uid_t saved) {
    uid_t r, e, s;
    CHECK(getresuid(&r, &e, &s) == 0 && r == real && e == effective && s == saved);
    CHECK(getuid() == real && geteuid() == effective);
}

int main(void) {
    const uid_t user = 12345;
    make_file("secret", "for root");
    CHECK(chmod("secret", 0600) == 0 && getuid() == 0);
    do {
        CHECK(seteuid(user) == 0);
        check_ids(0, user, 0);
        CHECK(open("secret", O_RDONLY) == -1 && errno == EACCES);
        CHECK(setresuid(-1, 0, -1) == 0);
        check_ids(0, 0, 0);
        int secret = open("secret", O_RDONLY);
        CHECK(secret >= 0 && close(secret) == 0);
        CHECK(setfsuid(user) == 0 && (uid_t)setfsuid(-1) == user);
        CHECK(open("secret", O_RDONLY) == -1 && errno == EACCES && setfsuid(0) == (int)user);
        CHECK(setresuid(user, 0, user) == 0);
        check_ids(user, 0, user);
        CHECK(setreuid(0, -1) == 0);
        CHECK(setresuid(0, 0, 0) == 0 && setegid(7) == 0 && getegid() == 7 && getgid() == 0);
        gid_t r, e, s;
        CHECK(getresgid(&r, &e, &s) == 0 && r == 0 && e == 7 && s == 0);
        CHECK(setresgid(0, 0, 0) == 0);
    } while (!gate_is_open());
    return well();
}
