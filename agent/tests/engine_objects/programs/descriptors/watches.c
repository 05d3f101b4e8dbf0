/* Inotify tells of what happens to files, in order. */
#include "program.h"
#include <sys/inotify.h>

static int inotify;

static void expect(int watch, uint32_t mask, const char *name) {
    static char buffer[4096] __attribute__((aligned(8)));
    static ssize_t length, at;
    if (at == length) {
        length = read(inotify, buffer, sizeof buffer);
        at = 0;
        CHECK(length > 0);
    }
    struct inotify_event *event = (void *)(buffer + at);
    CHECK(event->wd == watch && event->mask == mask);
    CHECK(event->len ? !strcmp(event->name, name) : !*name);
    at += sizeof *event + event->len;
}

int main(void) {
    CHECK(mkdir("d", 0700) == 0);
    inotify = inotify_init1(IN_NONBLOCK);
    CHECK(inotify >= 0);
    do {
        int watch = inotify_add_watch(inotify, "d", IN_CREATE | IN_MODIFY | IN_DELETE | IN_MOVE);
        CHECK(watch >= 0);
        make_file("d/file", "text");
        CHECK(rename("d/file", "d/other") == 0 && unlink("d/other") == 0);
        expect(watch, IN_CREATE, "file");
        expect(watch, IN_MODIFY, "file");
        expect(watch, IN_MOVED_FROM, "file");
        expect(watch, IN_MOVED_TO, "other");
        expect(watch, IN_DELETE, "other");
        char byte[64];
        CHECK(read(inotify, byte, sizeof byte) == -1 && errno == EAGAIN);
        CHECK(inotify_rm_watch(inotify, watch) == 0);
        expect(watch, IN_IGNORED, "");
        CHECK(inotify_rm_watch(inotify, watch) == -1 && errno == EINVAL);
    } while (!gate_is_open());
    return well();
}
