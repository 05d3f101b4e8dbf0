/* Supplementary groups open what is theirs. */
#include "program.h"
#include <grp.h>

int main(void) {
    const gid_t group = 45678;
    make_file("shared", "for the group");
    CHECK(chown("shared", 0, group) == 0 && chmod("shared", 0640) == 0);
    do {
        gid_t wanted[300], seen[300];
        for (int count = 0; count <= 300; count += 150) {
            for (int i = 0; i < count; i++)
                wanted[i] = group + (gid_t)i;
            CHECK(setgroups(count, wanted) == 0 && getgroups(0, NULL) == count);
            CHECK(getgroups(300, seen) == count && !memcmp(seen, wanted, count * sizeof *seen));
            if (count > 0)
                CHECK(getgroups(count - 1, seen) == -1 && errno == EINVAL);
            CHECK(seteuid(45678) == 0);
            int shared = open("shared", O_RDONLY);
            CHECK(count > 0 ? shared >= 0 && close(shared) == 0 : shared == -1 && errno == EACCES);
            CHECK(setgroups(0, NULL) == -1 && errno == EPERM);
            CHECK(seteuid(0) == 0);
        }
    } while (!gate_is_open());
    return well();
}
