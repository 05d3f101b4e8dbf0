/* A process enters the network namespace of another, and its own again. */
#include "program.h"
#include <net/if.h>
#include <sched.h>

static unsigned count_interfaces(void) {
    unsigned count = 0;
    struct if_nameindex *interfaces = if_nameindex();
    CHECK(interfaces);
    while (interfaces[count].if_index)
        count++;
    if_freenameindex(interfaces);
    return count;
}

int main(void) {
    int own = open("/proc/self/ns/net", O_RDONLY);
    struct stat first, second, now;
    CHECK(own >= 0 && fstat(own, &first) == 0 && unshare(CLONE_NEWNET) == 0);
    int new = open("/proc/self/ns/net", O_RDONLY);
    CHECK(new >= 0 && fstat(new, &second) == 0 && first.st_ino != second.st_ino);
    unsigned rounds = 0;
    do {
        CHECK(setns(own, CLONE_NEWNET) == 0 && stat("/proc/self/ns/net", &now) == 0 && now.st_ino == first.st_ino);
        CHECK(setns(new, 0) == 0 && stat("/proc/self/ns/net", &now) == 0 && now.st_ino == second.st_ino);
        while (rounds == 0 && !gate_is_open())
            CHECK(count_interfaces() == 1);
    } while (rounds++ < 3 || !gate_is_open());
    return well();
}
