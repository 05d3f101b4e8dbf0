/* Message queues give the most urgent message first. */
#include "program.h"
#include <mqueue.h>

int main(void) {
    char name[64], text[32];
    snprintf(name, sizeof name, "/limosa-conformance-%d", getpid());
    struct mq_attr attributes = {.mq_maxmsg = 4, .mq_msgsize = 32};
    do {
        mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &attributes);
        CHECK(queue >= 0 && mq_unlink(name) == 0);
        unsigned priority;
        CHECK(mq_receive(queue, text, 32, &priority) == -1 && errno == EAGAIN);
        CHECK(mq_send(queue, "low", 4, 1) == 0 && mq_send(queue, "high", 5, 9) == 0);
        CHECK(mq_send(queue, "low too", 8, 1) == 0);
        struct mq_attr now;
        CHECK(mq_getattr(queue, &now) == 0 && now.mq_curmsgs == 3 && now.mq_msgsize == 32);
        CHECK(mq_receive(queue, text, 32, &priority) == 5 && priority == 9 && !strcmp(text, "high"));
        CHECK(mq_receive(queue, text, 32, &priority) == 4 && priority == 1 && !strcmp(text, "low"));
        CHECK(mq_receive(queue, text, 31, &priority) == -1 && errno == EMSGSIZE);
        CHECK(mq_receive(queue, text, 32, 0) == 8 && !strcmp(text, "low too"));
        now.mq_flags = 0;
        CHECK(mq_setattr(queue, &now, 0) == 0);
        struct timespec past = {1, 0};
        CHECK(mq_timedreceive(queue, text, 32, 0, &past) == -1 && errno == ETIMEDOUT);
        CHECK(mq_close(queue) == 0);
    } while (!gate_is_open());
    return well();
}
