/* A set-user-ID program stays where its owner's rights are. */
#include "program.h"
#include <sys/auxv.h>

int main(void) {
    const uid_t owner = 9012;
    if (!getauxval(AT_SECURE)) {
        char block[1 << 16];
        int from = open("/proc/self/exe", O_RDONLY), to = open("elevated", O_WRONLY | O_CREAT | O_EXCL, 0700);
        CHECK(from >= 0 && to >= 0);
        for (ssize_t n; (n = read(from, block, sizeof block)) != 0;)
            CHECK(n > 0 && write(to, block, n) == n);
        CHECK(fchown(to, owner, owner) == 0 && fchmod(to, 04755) == 0 && close(from) == 0 && close(to) == 0);
        execl("./elevated", "elevated", NULL);
        CHECK(false);
    }
    CHECK(geteuid() == owner && getuid() == 0 && seteuid(0) == 0);
    stay();
    return well();
}
