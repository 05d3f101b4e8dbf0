/* A process in mount, host name and network namespaces of its own sees what is in them. */
#include "program.h"
#include <net/if.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/utsname.h>

int main(void) {
    CHECK(mkdir("place", 0700) == 0 && unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWNET) == 0);
    CHECK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount("limosa", "place", "tmpfs", 0, NULL) == 0);
    make_file("place/file", "only here");
    do {
        struct utsname name;
        CHECK(sethostname("wader", 5) == 0 && uname(&name) == 0 && !strcmp(name.nodename, "wader"));
        CHECK(access("place/file", F_OK) == 0);
        struct if_nameindex *interfaces = if_nameindex();
        CHECK(interfaces && interfaces[0].if_index == 1 && interfaces[1].if_index == 0);
        if_freenameindex(interfaces);
        FILE *mounts = fopen("/proc/self/mounts", "r");
        char line[1024];
        bool found = false;
        while (fgets(line, sizeof line, mounts))
            found |= !strncmp(line, "limosa ", 7);
        CHECK(found && fclose(mounts) == 0);
    } while (!gate_is_open());
    CHECK(umount("place") == 0 && access("place/file", F_OK) == -1);
    return well();
}
