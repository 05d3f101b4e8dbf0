/* Urgent data overtakes, and a signal tells of it. */
#include "program.h"
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static volatile int urgent;

static void on_urgent(int signal) {
    (void)signal;
    urgent++;
}

int main(void) {
    struct sigaction action = {.sa_handler = on_urgent, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGURG, &action, 0) == 0);
    int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    CHECK(bind(listener, (void *)&address, length) == 0 && listen(listener, 5) == 0);
    CHECK(getsockname(listener, (void *)&address, &length) == 0 && connect(fd, (void *)&address, length) == 0);
    int other = accept(listener, 0, 0);
    CHECK(other >= 0 && fcntl(other, F_SETOWN, getpid()) == 0);
    do {
        char text[8];
        int at_mark = 0;
        urgent = 0;
        CHECK(send(fd, "abc", 3, 0) == 3 && send(fd, "!", 1, MSG_OOB) == 1);
        while (!urgent)
            sleep_ms(1);
        CHECK(recv(other, text, 1, MSG_OOB) == 1 && text[0] == '!');
        CHECK(recv(other, text, 8, 0) == 3 && ioctl(other, SIOCATMARK, &at_mark) == 0 && at_mark == 1);
        CHECK(send(fd, "d", 1, 0) == 1 && recv(other, text, 8, 0) == 1 && text[0] == 'd');
    } while (!gate_is_open());
    return well();
}
