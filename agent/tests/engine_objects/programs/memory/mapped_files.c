/* Private mappings of a file, made and changed in turns, and a library loaded while running. */
#include "program.h"
#include <dlfcn.h>

int main(void) {
    char name[] = "/tmp/limosa-mapped-XXXXXX";
    int fd = mkstemp(name);
    CHECK(fd >= 0 && unlink(name) == 0);
    static unsigned char page[10000];
    for (unsigned i = 0; i < sizeof page; i++)
        page[i] = (unsigned char)(i * 13);
    CHECK(write(fd, page, sizeof page) == sizeof page);
    unsigned char *first = mmap(0, sizeof page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(first != MAP_FAILED);
    first[1] = 77;
    do {
        unsigned char *second = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 4096);
        CHECK(second != MAP_FAILED && second[0] == page[4096] && second[5903] == page[9999]);
        CHECK(second[5904] == 0);
        second[5] ^= 0xff;
        CHECK(first[1] == 77 && first[2] == page[2] && first[4096 + 5] == page[4096 + 5]);
        compute(1, 300);
        CHECK(second[5] == (unsigned char)(page[4096 + 5] ^ 0xff));
        unsigned char *fixed = mmap(second, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0);
        CHECK(fixed == second && second[2] == page[2] && second[4096] == page[8192]);
        CHECK(munmap(second, 8192) == 0);
        CHECK(mmap(0, 4096, PROT_READ, MAP_PRIVATE, 999, 0) == MAP_FAILED && errno == EBADF);
        void *library = dlopen("libz.so.1", RTLD_NOW);
        if (!library)
            library = dlopen("libm.so.6", RTLD_NOW);
        CHECK(library && dlclose(library) == 0);
    } while (!gate_is_open());
    puts("files mapped");
    return 0;
}
