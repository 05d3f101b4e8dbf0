/* Bytes run through a pipeline of four processes, all of them at work at the same time. */
#include "program.h"
enum { STAGES = 4, BYTES = 200000 };

static void stage(int from, int to, unsigned char add) {
    unsigned char block[3000];
    ssize_t length;
    while ((length = read(from, block, sizeof block)) > 0) {
        for (ssize_t i = 0; i < length; i++)
            block[i] += add;
        write_whole(to, block, length);
    }
    CHECK(length == 0);
}

int main(void) {
    do {
        int from = -1, ends[2];
        pid_t children[STAGES];
        for (int i = 0; i < STAGES; i++) {
            CHECK(pipe(ends) == 0);
            children[i] = fork();
            CHECK(children[i] >= 0);
            if (children[i] == 0) {
                CHECK(close(ends[0]) == 0);
                if (i > 0) {
                    stage(from, ends[1], i);
                    _exit(i);
                }
                static unsigned char text[BYTES];
                for (unsigned k = 0; k < BYTES; k++)
                    text[k] = k % 251;
                write_whole(ends[1], text, BYTES);
                _exit(0);
            }
            CHECK(close(ends[1]) == 0 && (i == 0 || close(from) == 0));
            from = ends[0];
        }
        unsigned char block[4096];
        unsigned seen = 0;
        ssize_t length;
        while ((length = read(from, block, sizeof block)) > 0)
            for (ssize_t i = 0; i < length; i++, seen++)
                CHECK(block[i] == (unsigned char)(seen % 251 + 6));
        CHECK(length == 0 && seen == BYTES && close(from) == 0);
        for (int i = 0; i < STAGES; i++)
            CHECK(exit_status_of(children[i]) == i);
    } while (!gate_is_open());
    return well();
}
