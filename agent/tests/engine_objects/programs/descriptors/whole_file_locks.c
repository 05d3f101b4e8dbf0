/* Flock keeps another open of the file out, and is shared with copies. */
#include "program.h"
#include <sys/file.h>

int main(void) {
    int a = open("file", O_RDWR | O_CREAT, 0600), b = open("file", O_RDWR);
    CHECK(a >= 0 && b >= 0);
    do {
        CHECK(flock(a, LOCK_EX) == 0 && flock(b, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK);
        int copy = dup(a);
        CHECK(flock(copy, LOCK_EX | LOCK_NB) == 0);
        CHECK(flock(a, LOCK_SH) == 0 && flock(b, LOCK_SH | LOCK_NB) == 0);
        CHECK(flock(a, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK);
        CHECK(flock(copy, LOCK_UN) == 0 && flock(b, LOCK_EX | LOCK_NB) == 0 && flock(b, LOCK_UN) == 0);
        CHECK(close(copy) == 0);
    } while (!gate_is_open());
    return well();
}
