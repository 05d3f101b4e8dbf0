/* What is written to a file is seen in its shared view, and what is written to the view is in the file. */
#include "program.h"
#define PAGE 4096ul

int main(void) {
    int fd = open("shared", O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0 && ftruncate(fd, 4 * PAGE) == 0);
    unsigned char round = 0;
    do {
        round++;
        unsigned char *reading = mmap(0, 4 * PAGE, PROT_READ, MAP_SHARED, fd, 0), byte;
        unsigned char *writing = mmap(0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CHECK(reading != MAP_FAILED && writing != MAP_FAILED);
        CHECK(pwrite(fd, &round, 1, PAGE) == 1 && reading[PAGE] == round);
        compute(1, 30);
        writing[2 * PAGE] = round;
        CHECK(reading[2 * PAGE] == round && pread(fd, &byte, 1, 2 * PAGE) == 1 && byte == round);
        CHECK(msync(writing, 4 * PAGE, MS_SYNC) == 0);
        CHECK(munmap(reading, 4 * PAGE) == 0 && munmap(writing, 4 * PAGE) == 0);
    } while (!gate_is_open());
    return well();
}
