/* Who waits in accept gets the connection that comes, wherever it waits. */
#include "program.h"
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "listener"};
static volatile bool is_over;

static void *client(void *unused) {
    (void)unused;
    for (unsigned number = 0; !is_over; number++) {
        sleep_ms(15);
        bool is_last = gate_is_open();
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK(connect(fd, (void *)&address, sizeof address) == 0);
        CHECK(write(fd, &number, sizeof number) == sizeof number && write(fd, &is_last, 1) == 1 && close(fd) == 0);
        is_over = is_last;
    }
    return 0;
}

int main(void) {
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(listener, (void *)&address, sizeof address) == 0 && listen(listener, 5) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, 0, client, 0) == 0);
    bool is_last = false;
    for (unsigned expected = 0; !is_last; expected++) {
        int fd = accept(listener, 0, 0);
        unsigned number;
        CHECK(fd >= 0 && read(fd, &number, sizeof number) == sizeof number && number == expected);
        CHECK(read(fd, &is_last, 1) == 1 && close(fd) == 0);
    }
    CHECK(pthread_join(thread, 0) == 0);
    return well();
}
