/* A named pipe's ends wait for each other. */
#include "program.h"
static void *opener(void *mode) {
    int fd = open("fifo", *(int *)mode);
    return (void *)(intptr_t)fd;
}

int main(void) {
    CHECK(mkfifo("fifo", 0600) == 0);
    do {
        pthread_t thread;
        void *result;
        char text[8];
        CHECK(open("fifo", O_WRONLY | O_NONBLOCK) == -1 && errno == ENXIO);
        CHECK(pthread_create(&thread, 0, opener, &(int){O_WRONLY}) == 0);
        int in = open("fifo", O_RDONLY);
        CHECK(in >= 0 && pthread_join(thread, &result) == 0);
        int out = (int)(intptr_t)result;
        CHECK(out >= 0 && write(out, "through", 7) == 7 && read(in, text, 8) == 7);
        CHECK(close(out) == 0 && read(in, text, 8) == 0 && close(in) == 0);
        in = open("fifo", O_RDONLY | O_NONBLOCK);
        CHECK(in >= 0 && read(in, text, 8) == 0 && close(in) == 0);
    } while (!gate_is_open());
    return well();
}
