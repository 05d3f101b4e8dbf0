/* A record lock keeps another process out, which learns who holds it. */
#include "program.h"
int main(void) {
    int fd = open("file", O_RDWR | O_CREAT, 0600), told[2], done[2];
    CHECK(fd >= 0);
    do {
        CHECK(pipe(told) == 0 && pipe(done) == 0);
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 50};
        CHECK(fcntl(fd, F_SETLK, &lock) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            struct flock asked = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 200};
            CHECK(fcntl(fd, F_GETLK, &asked) == 0 && asked.l_type == F_WRLCK);
            CHECK(asked.l_pid == getppid() && asked.l_start == 100 && asked.l_len == 50);
            CHECK(fcntl(fd, F_SETLK, &(struct flock){.l_type = F_RDLCK, .l_start = 149, .l_len = 1}) == -1);
            CHECK(errno == EAGAIN);
            CHECK(fcntl(fd, F_SETLK, &(struct flock){.l_type = F_WRLCK, .l_start = 150, .l_len = 1}) == 0);
            CHECK(write(told[1], "x", 1) == 1);
            CHECK(fcntl(fd, F_SETLKW, &(struct flock){.l_type = F_WRLCK, .l_start = 120, .l_len = 1}) == 0);
            CHECK(write(done[1], "y", 1) == 1);
            _exit(3);
        }
        char one;
        CHECK(read(told[0], &one, 1) == 1);
        struct pollfd wanted = {done[0], POLLIN, 0};
        CHECK(poll(&wanted, 1, 10) == 0);
        lock.l_type = F_UNLCK;
        CHECK(fcntl(fd, F_SETLK, &lock) == 0);
        CHECK(read(done[0], &one, 1) == 1 && exit_status_of(child) == 3);
        // A process's locks end with it.
        CHECK(fcntl(fd, F_GETLK, &(struct flock){.l_type = F_WRLCK}) == 0);
        for (int i = 0; i < 2; i++)
            close(told[i]), close(done[i]);
    } while (!gate_is_open());
    return well();
}
