/* Keys are kept in rings, found by their names, read, updated and thrown away. */
#include "program.h"
#include <linux/keyctl.h>
#include <sys/syscall.h>

static long keyctl(int what, long second, long third, long fourth, long fifth) {
    return syscall(SYS_keyctl, what, second, third, fourth, fifth);
}

int main(void) {
    const long ring = KEY_SPEC_PROCESS_KEYRING;
    CHECK(keyctl(KEYCTL_GET_KEYRING_ID, ring, 1, 0, 0) > 0);
    long kept = syscall(SYS_add_key, "user", "limosa:kept", "secret", 6, ring);
    CHECK(kept > 0);
    do {
        char text[64] = {0};
        CHECK(keyctl(KEYCTL_READ, kept, (long)text, sizeof text, 0) == 6 && !memcmp(text, "secret", 6));
        long key = syscall(SYS_add_key, "user", "limosa:key", "one", 3, ring);
        CHECK(key > 0 && keyctl(KEYCTL_UPDATE, key, (long)"four", 4, 0) == 0);
        CHECK(keyctl(KEYCTL_READ, key, (long)text, sizeof text, 0) == 4 && !memcmp(text, "four", 4));
        CHECK(keyctl(KEYCTL_SEARCH, ring, (long)"user", (long)"limosa:key", 0) == key);
        CHECK(keyctl(KEYCTL_DESCRIBE, key, (long)text, sizeof text, 0) > 0 && strstr(text, "limosa:key"));
        CHECK(syscall(SYS_request_key, "user", "limosa:kept", NULL, 0) == kept);
        CHECK(keyctl(KEYCTL_UNLINK, key, ring, 0, 0) == 0);
        CHECK(keyctl(KEYCTL_SEARCH, ring, (long)"user", (long)"limosa:key", 0) == -1 && errno == ENOKEY);
    } while (!gate_is_open());
    return well();
}
