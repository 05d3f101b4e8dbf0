/* In a user namespace of its own a process is root, with all capabilities there, and nobody outside. */
#include "program.h"
#include <sched.h>
#include <sys/prctl.h>

int main(void) {
    make_file("secret", "for root");
    CHECK(chmod("secret", 0600) == 0 && chmod(".", 0755) == 0 && setresgid(1234, 1234, 1234) == 0);
    CHECK(setresuid(1234, 1234, 1234) == 0 && unshare(CLONE_NEWUSER) == 0);
    CHECK(getuid() == 65534 && prctl(PR_SET_DUMPABLE, 1) == 0);
    const char *texts[][2] = {{"/proc/self/setgroups", "deny"}, {"/proc/self/uid_map", "0 1234 1"},
                              {"/proc/self/gid_map", "0 1234 1"}};
    for (int i = 0; i < 3; i++) {
        int file = open(texts[i][0], O_WRONLY);
        CHECK(file >= 0 && write(file, texts[i][1], strlen(texts[i][1])) > 0 && close(file) == 0);
    }
    do {
        CHECK(getuid() == 0 && getegid() == 0 && open("secret", O_RDONLY) == -1 && errno == EACCES);
        CHECK(setuid(1) == -1 && errno == EINVAL);
        struct stat seen;
        CHECK(stat("secret", &seen) == 0 && seen.st_uid == 65534);
    } while (!gate_is_open());
    return well();
}
