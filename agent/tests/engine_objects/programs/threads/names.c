/* Threads have names, which the others and /proc know. */
#include "program.h"
static volatile bool stop;

static void *work(void *unused) {
    (void)unused;
    while (!stop)
        sleep_ms(1);
    return 0;
}

int main(void) {
    pthread_t thread;
    char name[16], path[64];
    CHECK(pthread_create(&thread, 0, work, 0) == 0);
    for (unsigned round = 0;; round++) {
        char wanted[16];
        snprintf(wanted, sizeof wanted, "name-%u", round);
        CHECK(pthread_setname_np(pthread_self(), wanted) == 0);
        CHECK(pthread_getname_np(pthread_self(), name, 16) == 0 && !strcmp(name, wanted));
        CHECK(pthread_setname_np(thread, "the-other") == 0);
        CHECK(pthread_getname_np(thread, name, 16) == 0 && !strcmp(name, "the-other"));
        CHECK(pthread_setname_np(thread, "much too long a name") == ERANGE);
        snprintf(path, sizeof path, "/proc/self/task/%d/comm", gettid());
        FILE *comm = fopen(path, "r");
        CHECK(comm && fgets(name, 16, comm) && !strncmp(name, wanted, strlen(wanted)) && fclose(comm) == 0);
        if (gate_is_open())
            break;
    }
    stop = true;
    CHECK(pthread_join(thread, 0) == 0);
    return well();
}
