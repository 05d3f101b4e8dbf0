/* A process that maps a file shared to write to it stays until it has unmapped that. */
#include "program.h"

int main(void) {
    make_file("file", "before");
    int file = open("file", O_RDWR);
    char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    char text[8] = {0};
    CHECK(shared != MAP_FAILED);
    stay();
    memcpy(shared, "behind", 6);
    CHECK(read(file, text, 6) == 6 && !strcmp(text, "behind") && munmap(shared, 4096) == 0 && close(file) == 0);
    be_free();
    return well();
}
