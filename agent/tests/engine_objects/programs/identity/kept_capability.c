/* An ordinary user's process with one capability has the right that it gives, and no other. */
#include "program.h"
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

int main(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {0};
    make_file("someones", "text");
    CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0 && setresgid(5678, 5678, 5678) == 0 && setresuid(5678, 5678, 5678) == 0);
    data[0].effective = data[0].permitted = 1u << CAP_CHOWN;
    CHECK(syscall(SYS_capset, &header, data) == 0);
    unsigned step = 0;
    do {
        struct stat seen;
        CHECK(chown("someones", step = step % 1000 + 1, 5) == 0 && stat("someones", &seen) == 0 && seen.st_uid == step);
        CHECK(chmod("someones", 0777) == -1 && errno == EPERM && setuid(0) == -1 && errno == EPERM);
        CHECK(syscall(SYS_capget, &header, data) == 0 && data[0].effective == 1u << CAP_CHOWN);
    } while (!gate_is_open());
    return well();
}
