/* Parent and child share the descriptions that were open at the fork, and nothing that either opens or closes later. */
#include "program.h"
#include <sys/file.h>

int main(void) {
    do {
        int shared = open("shared", O_RDWR | O_CREAT | O_TRUNC, 0600), lock = open("lock", O_RDWR | O_CREAT, 0600);
        CHECK(shared >= 0 && lock >= 0 && write(shared, "0123456789", 10) == 10 && lseek(shared, 2, SEEK_SET) == 2);
        CHECK(flock(lock, LOCK_EX) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            char text[3];
            CHECK(read(shared, text, 3) == 3 && !memcmp(text, "234", 3));
            CHECK(flock(lock, LOCK_EX | LOCK_NB) == 0);
            struct flock record = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
            CHECK(fcntl(shared, F_SETLK, &record) == 0);
            CHECK(fcntl(shared, F_SETFL, O_APPEND) == 0 && close(shared) == 0);
            CHECK(open("/dev/null", O_RDONLY) == shared);
            _exit(0);
        }
        CHECK(exit_status_of(child) == 0);
        char text[3];
        CHECK(read(shared, text, 3) == 3 && !memcmp(text, "567", 3) && (fcntl(shared, F_GETFL) & O_APPEND));
        struct flock record = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        CHECK(fcntl(shared, F_GETLK, &record) == 0 && record.l_type == F_UNLCK);
        CHECK(close(shared) == 0 && close(lock) == 0);
    } while (!gate_is_open());
    return well();
}
