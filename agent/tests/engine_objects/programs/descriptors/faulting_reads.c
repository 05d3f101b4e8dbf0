/* A read into memory that is not there fails and takes nothing out of the pipe. */
#include "program.h"

int main(void) {
    void *volatile nowhere = (void *)8, *volatile top = (void *)(uintptr_t)-4096;
    int queue[2];
    CHECK(pipe(queue) == 0);
    do {
        char text[4];
        CHECK(write(queue[1], "abc", 3) == 3);
        CHECK(read(queue[0], nowhere, 1) == -1 && errno == EFAULT);
        CHECK(read(queue[0], top, 1) == -1 && errno == EFAULT);
        CHECK(read(queue[0], text, 4) == 3 && !memcmp(text, "abc", 3));
    } while (!gate_is_open());
    return well();
}
