/* Capabilities are dropped, raised, kept over a change of user and handed on, as the kernel says. */
#include "program.h"
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};

static uint64_t effective(struct __user_cap_data_struct data[2]) {
    CHECK(syscall(SYS_capget, &header, data) == 0);
    return data[0].effective | (uint64_t)data[1].effective << 32;
}

int main(void) {
    const uint32_t dac = 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH;
    struct __user_cap_data_struct data[2];
    make_file("secret", "for root");
    CHECK(chmod("secret", 0) == 0);
    do {
        uint64_t all = effective(data);
        CHECK(all & 1u << CAP_DAC_OVERRIDE && access("secret", R_OK) == 0);
        struct __user_cap_data_struct less[2] = {data[0], data[1]};
        less[0].effective &= ~dac;
        CHECK(syscall(SYS_capset, &header, less) == 0 && effective(less) == (all & ~(uint64_t)dac));
        CHECK(open("secret", O_RDONLY) == -1 && errno == EACCES);
        CHECK(syscall(SYS_capset, &header, data) == 0 && effective(less) == all);
        int secret = open("secret", O_RDONLY);
        CHECK(secret >= 0 && close(secret) == 0);
        CHECK(prctl(PR_CAPBSET_READ, CAP_CHOWN) == 1 && prctl(PR_CAPBSET_READ, 1000) == -1);
        CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0 && prctl(PR_GET_KEEPCAPS) == 1 && prctl(PR_SET_KEEPCAPS, 0) == 0);
        int bits = prctl(PR_GET_SECUREBITS);
        CHECK(prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP) == 0);
        CHECK(seteuid(1234) == 0 && effective(less) == all && seteuid(0) == 0);
        CHECK(prctl(PR_SET_SECUREBITS, bits) == 0 && prctl(PR_GET_SECUREBITS) == bits);
        less[0].inheritable = 1u << CAP_NET_RAW;
        CHECK(syscall(SYS_capset, &header, less) == 0);
        CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0) == 0);
        CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 0) == 1);
        CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0);
        CHECK(syscall(SYS_capset, &header, data) == 0);
    } while (!gate_is_open());
    return well();
}
