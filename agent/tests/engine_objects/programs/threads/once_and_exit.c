/* Initialisers run once, exit handlers in reverse order, by whichever thread ends the process. */
#include "program.h"
static pthread_once_t once = PTHREAD_ONCE_INIT;
static unsigned initialised;

static void initialise(void) {
    compute(1, 5);
    initialised++;
}

static void *work(void *unused) {
    pthread_once(&once, initialise);
    CHECK(initialised == 1);
    return unused;
}

static void *ends(void *unused) {
    (void)unused;
    exit(0);
}

static void last_words(void) {
    fflush(stdout);
    well();
}

static void words_before(void) {
    puts("handlers run");
}

int main(void) {
    CHECK(atexit(last_words) == 0 && atexit(words_before) == 0);
    pthread_t threads[4];
    do {
        for (int i = 0; i < 4; i++)
            CHECK(pthread_create(&threads[i], 0, work, 0) == 0);
        for (int i = 0; i < 4; i++)
            CHECK(pthread_join(threads[i], 0) == 0);
    } while (!gate_is_open());
    CHECK(pthread_create(&threads[0], 0, ends, 0) == 0);
    while (true)
        pause();
}
