/* /proc/self/maps has the memory that the program has mapped. */
#include "program.h"
int main(void) {
    do {
        char *mine = mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(mine != MAP_FAILED && mprotect(mine + 4096, 4096, PROT_NONE) == 0);
        FILE *maps = fopen("/proc/self/maps", "r");
        bool has_stack = false, has_middle = false;
        char line[512], rights[5];
        while (fgets(line, sizeof line, maps)) {
            unsigned long start, end;
            CHECK(sscanf(line, "%lx-%lx %4s", &start, &end, rights) == 3);
            has_stack |= start <= (uintptr_t)line && (uintptr_t)line < end;
            has_middle |= start == (uintptr_t)mine + 4096 && end == start + 4096 && !strcmp(rights, "---p");
        }
        CHECK(fclose(maps) == 0 && has_stack && has_middle && munmap(mine, 3 * 4096) == 0);
    } while (!gate_is_open());
    return well();
}
