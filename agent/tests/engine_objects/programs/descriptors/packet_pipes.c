/* A pipe in packet mode keeps the bounds of what was written. */
#include "program.h"
int main(void) {
    int queue[2];
    CHECK(pipe2(queue, O_DIRECT | O_NONBLOCK) == 0);
    char seen[32];
    do {
        // A user who has many pipes open gets new ones with room for two packets (pipe(7)).
        CHECK(write(queue[1], "one", 3) == 3 && write(queue[1], "second", 6) == 6);
        CHECK(read(queue[0], seen, sizeof seen) == 3 && !memcmp(seen, "one", 3));
        // What does not fit is thrown away.
        CHECK(write(queue[1], "three", 5) == 5 && read(queue[0], seen, 2) == 2 && !memcmp(seen, "se", 2));
        CHECK(read(queue[0], seen, sizeof seen) == 5 && !memcmp(seen, "three", 5));
        CHECK(read(queue[0], seen, sizeof seen) == -1 && errno == EAGAIN);
    } while (!gate_is_open());
    return well();
}
