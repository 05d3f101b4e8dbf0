/* Syncing and advice are accepted for files, not for pipes. */
#include "program.h"
int main(void) {
    int fd = open("file", O_RDWR | O_CREAT, 0600), queue[2];
    CHECK(fd >= 0 && pipe(queue) == 0);
    do {
        CHECK(pwrite(fd, "data", 4, 0) == 4 && fsync(fd) == 0 && fdatasync(fd) == 0);
        CHECK(sync_file_range(fd, 0, 4, SYNC_FILE_RANGE_WRITE) == 0);
        CHECK(posix_fadvise(fd, 0, 4, POSIX_FADV_DONTNEED) == 0 && readahead(fd, 0, 4) == 0);
        CHECK(fsync(queue[0]) == -1 && errno == EINVAL && readahead(queue[0], 0, 4) == -1);
        CHECK(posix_fadvise(queue[0], 0, 4, POSIX_FADV_NORMAL) == ESPIPE);
        struct flock lock = {.l_type = F_RDLCK};
        CHECK(fcntl(fd, F_SETLK, &lock) == 0);
        sleep_ms(1);
    } while (!gate_is_open());
    return well();
}
