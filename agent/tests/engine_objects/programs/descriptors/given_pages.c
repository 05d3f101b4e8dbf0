/* Vmsplice puts memory into a pipe and takes a pipe's bytes into memory. */
#include "program.h"
int main(void) {
    int queue[2];
    CHECK(pipe(queue) == 0);
    do {
        char a[] = "given ", b[] = "pages", seen[12] = {0};
        struct iovec out[2] = {{a, 6}, {b, 5}}, in = {seen, 11};
        CHECK(vmsplice(queue[1], out, 2, 0) == 11);
        CHECK(vmsplice(queue[0], &in, 1, 0) == 11 && !strcmp(seen, "given pages"));
        compute(1, 20);
    } while (!gate_is_open());
    return well();
}
