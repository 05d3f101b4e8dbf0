/* A process whose children will have another clock stays until that is changed back. */
#include "program.h"
#include <sched.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

int main(void) {
    int own = open("/proc/self/ns/time", O_RDONLY);
    CHECK(own >= 0 && unshare(CLONE_NEWTIME) == 0);
    stay();
    CHECK(setns(own, CLONE_NEWTIME) == 0 && close(own) == 0);
    be_free();
    return well();
}
