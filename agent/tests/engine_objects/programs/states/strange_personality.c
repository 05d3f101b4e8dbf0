/* A process whose personality makes memory executable stays until it has an ordinary one. */
#include "program.h"
#include <sys/personality.h>

int main(void) {
    int before = personality(0xffffffff);
    CHECK(personality((unsigned)before | READ_IMPLIES_EXEC) == before);
    stay();
    CHECK(personality((unsigned)before) == (before | READ_IMPLIES_EXEC) && personality(0xffffffff) == before);
    be_free();
    return well();
}
