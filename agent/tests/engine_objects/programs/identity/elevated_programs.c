/* A set-user-ID program has its owner's rights when the process executes it, unless it has sworn off new ones. */
#include "program.h"
#include <sys/auxv.h>
#include <sys/prctl.h>

static const uid_t user = 7890, owner = 8901;

static void copy_itself(const char *name) {
    char block[1 << 16];
    int from = open("/proc/self/exe", O_RDONLY), to = open(name, O_WRONLY | O_CREAT | O_EXCL, 0700);
    CHECK(from >= 0 && to >= 0);
    for (ssize_t n; (n = read(from, block, sizeof block)) != 0;)
        CHECK(n > 0 && write(to, block, n) == n);
    CHECK(fchown(to, owner, owner) == 0 && fchmod(to, 04755) == 0 && close(from) == 0 && close(to) == 0);
}

static int run_elevated(bool may_rise) {
    pid_t child = fork();
    if (child == 0) {
        if (setresgid(user, user, user) != 0 || setresuid(user, user, user) != 0)
            _exit(90);
        if (!may_rise && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
            _exit(91);
        execl("./elevated", "elevated", "child", NULL);
        _exit(92);
    }
    CHECK(child > 0);
    return exit_status_of(child);
}

int main(int count, char **arguments) {
    (void)arguments;
    if (count > 1)
        return geteuid() == owner && getauxval(AT_SECURE) ? 1 : geteuid() == user && getuid() == user ? 2 : 3;
    CHECK(chmod(".", 0755) == 0);
    copy_itself("elevated");
    do {
        CHECK(run_elevated(true) == 1);
        CHECK(run_elevated(false) == 2);
    } while (!gate_is_open());
    return well();
}
