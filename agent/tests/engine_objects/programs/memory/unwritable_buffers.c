/* What a call would put where the program may not write stays where it was. */
#include "program.h"
#include <sys/socket.h>

int main(void) {
    char *pages = mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED && mprotect(pages + 4096, 4096, PROT_READ) == 0);
    CHECK(mprotect(pages + 8192, 4096, PROT_NONE) == 0);
    char *forbidden[] = {pages + 4096, pages + 8192, (char *)8};
    int queue[2], pair[2];
    CHECK(pipe(queue) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    do {
        char text[8];
        for (int i = 0; i < 3; i++) {
            CHECK(write(queue[1], "abc", 3) == 3);
            CHECK(read(queue[0], forbidden[i], 8) == -1 && errno == EFAULT);
            CHECK(read(queue[0], text, 8) == 3 && !memcmp(text, "abc", 3));
            CHECK(send(pair[1], "defg", 4, 0) == 4);
            CHECK(recv(pair[0], forbidden[i], 8, 0) == -1 && errno == EFAULT);
            CHECK(recv(pair[0], text, 8, 0) == 4 && !memcmp(text, "defg", 4));
        }
        // A buffer of which only the beginning can be written takes what fits.
        CHECK(write(queue[1], "abc", 3) == 3 && read(queue[0], pages + 4090, 100) == 3);
        compute(1, 100);
    } while (!gate_is_open());
    return well();
}
