/* The personality is what was set, and what it changes is changed. */
#include "program.h"
#include <sys/personality.h>
#include <sys/utsname.h>

int main(void) {
    struct utsname name;
    int before = personality(0xffffffff);
    CHECK(before != -1 && personality((unsigned)before | UNAME26 | ADDR_NO_RANDOMIZE) == before);
    do {
        CHECK(personality(0xffffffff) == (before | UNAME26 | ADDR_NO_RANDOMIZE));
        CHECK(uname(&name) == 0 && !strncmp(name.release, "2.6.", 4));
    } while (!gate_is_open());
    CHECK(personality((unsigned)before) != -1 && uname(&name) == 0 && strncmp(name.release, "2.6.", 4));
    return well();
}
