/* Holes are found where nothing was written, and can be punched. */
#include "program.h"
enum { BLOCK = 65536 };

int main(void) {
    int fd = open("sparse", O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0);
    char *block = malloc(BLOCK), *seen = malloc(BLOCK);
    memset(block, 'x', BLOCK);
    do {
        CHECK(ftruncate(fd, 0) == 0 && ftruncate(fd, 10 * BLOCK) == 0);
        CHECK(pwrite(fd, block, BLOCK, 2 * BLOCK) == BLOCK);
        CHECK(pwrite(fd, block, BLOCK, 6 * BLOCK) == BLOCK);
        CHECK(lseek(fd, 0, SEEK_DATA) == 2 * BLOCK);
        CHECK(lseek(fd, 2 * BLOCK, SEEK_HOLE) == 3 * BLOCK);
        CHECK(lseek(fd, 3 * BLOCK, SEEK_DATA) == 6 * BLOCK);
        CHECK(lseek(fd, 7 * BLOCK, SEEK_DATA) == -1 && errno == ENXIO);
        CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 6 * BLOCK, BLOCK) == 0);
        CHECK(lseek(fd, 3 * BLOCK, SEEK_DATA) == -1 && errno == ENXIO);
        memset(seen, 1, BLOCK);
        CHECK(pread(fd, seen, BLOCK, 6 * BLOCK) == BLOCK && seen[0] == 0 && seen[BLOCK - 1] == 0);
        struct stat status;
        CHECK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 10 * BLOCK, BLOCK) == 0);
        CHECK(fstat(fd, &status) == 0 && status.st_size == 10 * BLOCK);
        CHECK(fallocate(fd, 0, 10 * BLOCK, BLOCK) == 0);
        CHECK(fstat(fd, &status) == 0 && status.st_size == 11 * BLOCK);
        CHECK(posix_fallocate(fd, 0, 12 * BLOCK) == 0);
    } while (!gate_is_open());
    return well();
}
