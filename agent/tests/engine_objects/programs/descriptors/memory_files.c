/* Memfd is a file without a place, whose seals forbid what they say. */
#include "program.h"
int main(void) {
    do {
        int fd = memfd_create("notes", MFD_ALLOW_SEALING | MFD_CLOEXEC);
        CHECK(fd >= 0 && write(fd, "some notes", 10) == 10 && ftruncate(fd, 20) == 0);
        char text[32], link[64] = {0}, path[32];
        CHECK(pread(fd, text, 32, 0) == 20 && !memcmp(text, "some notes\0\0", 12));
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        CHECK(readlink(path, link, 63) > 0 && !strcmp(link, "/memfd:notes (deleted)"));
        CHECK(fcntl(fd, F_GET_SEALS) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
        CHECK(ftruncate(fd, 5) == -1 && errno == EPERM && ftruncate(fd, 30) == 0);
        CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_WRITE) == 0 && write(fd, "x", 1) == -1);
        CHECK(errno == EPERM && fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL) == 0);
        CHECK(fcntl(fd, F_GET_SEALS) == (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
        CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) == -1 && errno == EPERM && close(fd) == 0);
    } while (!gate_is_open());
    return well();
}
