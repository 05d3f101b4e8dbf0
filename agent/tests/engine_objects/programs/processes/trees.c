/* A tree of processes adds up what its leaves know, by exit statuses. */
#include "program.h"

static int grow(int depth, int number) {
    if (depth == 0) {
        compute(number, 5);
        return number % 2;
    }
    pid_t children[2];
    for (int i = 0; i < 2; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0)
            _exit(grow(depth - 1, number * 2 + i));
    }
    return exit_status_of(children[0]) + exit_status_of(children[1]);
}

int main(void) {
    do
        CHECK(grow(3, 1) == 4);
    while (!gate_is_open());
    return well();
}
