/* Modes, owners and the umask decide who may do what. */
#include "program.h"
int main(void) {
    do {
        mode_t before = umask(027);
        int fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0666);
        struct stat status;
        CHECK(fd >= 0 && fstat(fd, &status) == 0 && (status.st_mode & 07777) == 0640);
        CHECK(fchmod(fd, 04711) == 0 && stat("file", &status) == 0 && (status.st_mode & 07777) == 04711);
        // chown(2): another owner clears the set-user-ID bit.
        CHECK(fchown(fd, 1234, 4321) == 0 && fstat(fd, &status) == 0);
        CHECK(status.st_uid == 1234 && status.st_gid == 4321 && (status.st_mode & 07777) == 0711);
        CHECK(fchmodat(AT_FDCWD, "file", 0, 0) == 0 && lchown("file", 0, -1) == 0);
        CHECK(access("file", R_OK | W_OK) == 0 && access("file", X_OK) == -1 && errno == EACCES);
        CHECK(seteuid(65534) == 0 && open("file", O_RDONLY) == -1 && errno == EACCES);
        CHECK(faccessat(AT_FDCWD, "file", R_OK, AT_EACCESS) == -1 && access("file", R_OK) == 0);
        CHECK(seteuid(0) == 0 && umask(before) == 027 && close(fd) == 0 && unlink("file") == 0);
    } while (!gate_is_open());
    return well();
}
