/* Reads and writes of files are whole, however long they are: with and without vectors and positions. */
#include "program.h"

#define BIG (5 << 20)
#define PIECES 7

static unsigned char *out, *in;

/* Pieces of all lengths, which together are BIG bytes. */
static void cut(struct iovec *pieces, unsigned char *memory) {
    size_t at = 0;
    for (int i = 0; i < PIECES; i++) {
        size_t length = i == PIECES - 1 ? BIG - at : (size_t)(i * 300007 + (i == 2 ? 0 : 11));
        pieces[i] = (struct iovec){memory + at, length};
        at += length;
    }
}

static void clear(void) {
    memset(in, 0, BIG);
}

static bool is_whole(ssize_t n) {
    return n == BIG && !memcmp(in, out, BIG);
}

int main(void) {
    out = malloc(BIG), in = malloc(BIG);
    for (int i = 0; i < BIG; i++)
        out[i] = (unsigned char)(i * 31 + i / 4096);
    struct iovec from[PIECES], into[PIECES];
    cut(from, out);
    cut(into, in);
    int fd = open("big", O_RDWR | O_CREAT | O_TRUNC, 0600), zeros = open("/dev/zero", O_RDONLY);
    CHECK(fd >= 0 && zeros >= 0);
    do {
        CHECK(pwrite(fd, out, BIG, 100) == BIG);
        CHECK(is_whole(pread(fd, in, BIG, 100)));
        CHECK(lseek(fd, 0, SEEK_SET) == 0 && write(fd, out, BIG) == BIG && lseek(fd, 0, SEEK_CUR) == BIG);
        clear();
        CHECK(ftruncate(fd, BIG) == 0);
        CHECK(lseek(fd, 0, SEEK_SET) == 0 && is_whole(read(fd, in, BIG + 10)));
        CHECK(ftruncate(fd, 0) == 0 && lseek(fd, 5, SEEK_SET) == 5 && writev(fd, from, PIECES) == BIG);
        clear();
        CHECK(lseek(fd, 5, SEEK_SET) == 5 && is_whole(readv(fd, into, PIECES)));
        CHECK(pwritev(fd, from, PIECES, 77) == BIG);
        clear();
        CHECK(is_whole(preadv(fd, into, PIECES, 77)));
        CHECK(lseek(fd, 9, SEEK_SET) == 9 && pwritev2(fd, from, PIECES, -1, 0) == BIG);
        clear();
        CHECK(lseek(fd, 9, SEEK_SET) == 9 && is_whole(preadv2(fd, into, PIECES, -1, 0)));
        CHECK(lseek(fd, 0, SEEK_CUR) == BIG + 9);
        // A stop can end this one early, natively too.
        CHECK(read(zeros, in, BIG) > 0 && in[0] == 0);
    } while (!gate_is_open());
    return well();
}
