/* Private mappings of a file behave as such wherever the program is: its own copies hide the file and can be thrown
   away, mappings can be shortened, moved and replaced, and nothing lies behind the file's end. */
#include "program.h"
#include <setjmp.h>

#define PAGE 4096ul

enum { PAGES = 9, LAST_BYTES = 100 };

static sigjmp_buf beyond;

static void on_bus_error(int signal) {
    (void)signal;
    siglongjmp(beyond, 1);
}

static unsigned char content(unsigned page) { return (unsigned char)(page * 11 + 3); }

static unsigned char *map(int fd, int protection, off_t first_page, size_t pages) {
    unsigned char *area =
        mmap(0, pages * PAGE, protection, MAP_PRIVATE, fd, first_page * (off_t)PAGE);
    CHECK(area != MAP_FAILED);
    return area;
}

/* The file's contents from this page on, but for pages with a copy of our own. */
static void check(const unsigned char *area, unsigned first_page, unsigned pages, unsigned own) {
    for (unsigned page = 0; page < pages; page++) {
        unsigned char wanted = first_page + page == own ? 200 : content(first_page + page);
        CHECK(area[page * PAGE] == wanted && area[page * PAGE + LAST_BYTES - 1] == wanted);
    }
}

static void is_behind_the_end(volatile unsigned char *byte) {
    if (sigsetjmp(beyond, 1) == 0) {
        (void)*byte;
        CHECK(!"a page behind the end of the file can be read");
    }
}

int main(void) {
    char name[] = "/tmp/limosa-views-XXXXXX";
    int fd = mkstemp(name);
    CHECK(fd >= 0 && unlink(name) == 0);
    for (unsigned page = 0; page < PAGES; page++) {
        unsigned char bytes[PAGE];
        memset(bytes, content(page), PAGE);
        size_t length = page == PAGES - 1 ? LAST_BYTES : PAGE;
        CHECK(pwrite(fd, bytes, length, page * (off_t)PAGE) == (ssize_t)length);
    }
    CHECK(signal(SIGBUS, on_bus_error) != SIG_ERR);
    unsigned char *kept = map(fd, PROT_READ | PROT_WRITE, 1, PAGES + 1);
    unsigned char *only_read = map(fd, PROT_READ, 0, PAGES);
    memset(kept + 2 * PAGE, 200, PAGE);
    do {
        check(kept, 1, PAGES - 1, 3);
        check(only_read, 0, PAGES, 99);
        CHECK(kept[(PAGES - 2) * PAGE + LAST_BYTES] == 0);
        is_behind_the_end(kept + (PAGES - 1) * PAGE);

        unsigned char *fresh = map(fd, PROT_READ | PROT_WRITE, 2, 6);
        memset(fresh + PAGE, 200, PAGE);
        memset(fresh + 4 * PAGE, 0, PAGE);
        compute(1, 300);
        check(fresh, 2, 4, 3);
        CHECK(fresh[4 * PAGE] == 0 && fresh[4 * PAGE + 99] == 0);
        /* without its own copies there is the file again, in a copy of an old view, too */
        CHECK(madvise(fresh, 6 * PAGE, MADV_DONTNEED) == 0);
        check(fresh, 2, 6, 99);
        CHECK(madvise(kept + 2 * PAGE, PAGE, MADV_DONTNEED) == 0);
        check(kept, 1, PAGES - 1, 99);
        compute(2, 300);
        check(kept, 1, PAGES - 1, 99);
        memset(kept + 2 * PAGE, 200, PAGE);
        /* shortened and moved */
        unsigned char *moved = mremap(fresh, 6 * PAGE, 3 * PAGE, 0);
        CHECK(moved == fresh);
        unsigned char *place = mmap(0, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(place != MAP_FAILED);
        moved = mremap(fresh, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place);
        CHECK(moved == place);
        check(moved, 2, 3, 99);
        moved[5] = 201;
        compute(3, 300);
        CHECK(moved[5] == 201);
        CHECK(madvise(moved, PAGE, MADV_DONTNEED) == 0);
        check(moved, 2, 3, 99);
        /* ordinary memory in its place begins as zero, and does so again */
        unsigned char *ordinary = mmap(moved, 2 * PAGE, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        CHECK(ordinary == moved && ordinary[5] == 0);
        ordinary[5] = 7;
        ordinary[PAGE] = 8;
        compute(4, 300);
        CHECK(ordinary[5] == 7);
        CHECK(madvise(ordinary, PAGE, MADV_DONTNEED) == 0 && ordinary[5] == 0);
        CHECK(ordinary[PAGE] == 8 && moved[2 * PAGE] == content(4));
        CHECK(munmap(place, 4 * PAGE) == 0);
        /* a failed mapping changes nothing */
        CHECK(mmap(kept, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, 999, 0) == MAP_FAILED);
        CHECK(errno == EBADF && kept[0] == content(1));
    } while (!gate_is_open());
    puts("files seen as they are");
    return 0;
}
