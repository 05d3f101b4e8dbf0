/* Sendfile moves bytes from a file to a pipe and to a file. */
#include "program.h"
#include <sys/sendfile.h>

int main(void) {
    static char text[30000], seen[30000];
    for (unsigned i = 0; i < sizeof text; i++)
        text[i] = 'a' + i % 23;
    int in = open("in", O_RDWR | O_CREAT, 0600), out = open("out", O_RDWR | O_CREAT, 0600);
    int queue[2];
    CHECK(write(in, text, sizeof text) == sizeof text && pipe(queue) == 0);
    do {
        off_t at = 1000;
        CHECK(lseek(in, 77, SEEK_SET) == 77);
        CHECK(sendfile(queue[1], in, &at, 5000) == 5000 && at == 6000);
        CHECK(lseek(in, 0, SEEK_CUR) == 77 && read(queue[0], seen, 6000) == 5000);
        CHECK(!memcmp(seen, text + 1000, 5000));
        CHECK(lseek(out, 0, SEEK_SET) == 0 && lseek(in, 0, SEEK_SET) == 0);
        CHECK(sendfile(out, in, 0, sizeof text) == sizeof text);
        CHECK(lseek(in, 0, SEEK_CUR) == sizeof text && sendfile(out, in, 0, 10) == 0);
        CHECK(pread(out, seen, sizeof seen, 0) == sizeof seen && !memcmp(seen, text, sizeof text));
    } while (!gate_is_open());
    return well();
}
