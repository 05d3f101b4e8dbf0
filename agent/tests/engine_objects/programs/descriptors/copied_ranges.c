/* Copy_file_range copies within and between files. */
#include "program.h"
int main(void) {
    int a = open("a", O_RDWR | O_CREAT, 0600), b = open("b", O_RDWR | O_CREAT, 0600);
    CHECK(a >= 0 && b >= 0);
    do {
        CHECK(pwrite(a, "abcdefghij", 10, 0) == 10 && ftruncate(b, 0) == 0);
        off_t from = 2, to = 5;
        CHECK(copy_file_range(a, &from, b, &to, 4, 0) == 4 && from == 6 && to == 9);
        char seen[16] = {0};
        CHECK(pread(b, seen, 16, 0) == 9 && !memcmp(seen, "\0\0\0\0\0cdef", 9));
        CHECK(lseek(a, 8, SEEK_SET) == 8 && lseek(b, 0, SEEK_SET) == 0);
        CHECK(copy_file_range(a, 0, b, 0, 100, 0) == 2 && lseek(a, 0, SEEK_CUR) == 10);
        CHECK(pread(b, seen, 16, 0) == 9 && !memcmp(seen, "ij\0\0\0cdef", 9));
        from = 0, to = 1;
        CHECK(copy_file_range(a, &from, a, &to, 4, 0) == -1 && errno == EINVAL);
        CHECK(copy_file_range(a, 0, b, 0, 1, 99) == -1 && errno == EINVAL);
    } while (!gate_is_open());
    return well();
}
