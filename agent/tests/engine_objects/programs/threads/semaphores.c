/* Semaphores hand on every unit from producer to consumer. */
#include "program.h"
#include <semaphore.h>

enum { ROOM = 8 };
static sem_t room, items;
static unsigned ring[ROOM];
static volatile bool stop;

static void *produce(void *unused) {
    (void)unused;
    for (unsigned i = 0; !stop; i++) {
        CHECK(sem_wait(&room) == 0);
        ring[i % ROOM] = i;
        CHECK(sem_post(&items) == 0);
    }
    return 0;
}

int main(void) {
    CHECK(sem_init(&room, 0, ROOM) == 0 && sem_init(&items, 0, 0) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, 0, produce, 0) == 0);
    unsigned i = 0;
    do
        for (int k = 0; k < 50; k++, i++) {
            CHECK(sem_wait(&items) == 0 && ring[i % ROOM] == i && sem_post(&room) == 0);
        }
    while (!gate_is_open());
    stop = true;
    CHECK(sem_post(&room) == 0 && pthread_join(thread, 0) == 0);
    int value;
    while (sem_trywait(&items) == 0)
        ;
    CHECK(errno == EAGAIN && sem_getvalue(&items, &value) == 0 && value == 0);
    return well();
}
