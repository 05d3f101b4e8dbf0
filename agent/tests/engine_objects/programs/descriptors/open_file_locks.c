/* Open file description locks belong to the description, not to the process. */
#include "program.h"
int main(void) {
    int a = open("file", O_RDWR | O_CREAT, 0600), b = open("file", O_RDWR);
    CHECK(a >= 0 && b >= 0);
    do {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
        CHECK(fcntl(a, F_OFD_SETLK, &lock) == 0 && fcntl(a, F_OFD_SETLK, &lock) == 0);
        CHECK(fcntl(b, F_OFD_SETLK, &lock) == -1 && errno == EAGAIN);
        struct flock asked = lock;
        CHECK(fcntl(b, F_OFD_GETLK, &asked) == 0 && asked.l_type == F_WRLCK && asked.l_pid == -1);
        lock.l_start = 10;
        CHECK(fcntl(b, F_OFD_SETLKW, &lock) == 0);
        int copy = dup(a);
        CHECK(close(copy) == 0);
        lock.l_start = 5, lock.l_len = 1, lock.l_type = F_RDLCK;
        CHECK(fcntl(b, F_OFD_SETLK, &lock) == -1 && errno == EAGAIN);
        lock = (struct flock){.l_type = F_UNLCK};
        CHECK(fcntl(a, F_OFD_SETLK, &lock) == 0 && fcntl(b, F_OFD_SETLK, &lock) == 0);
    } while (!gate_is_open());
    return well();
}
