/* A program that does nothing but become itself again and again leaves at any moment of that. */
#include "program.h"

int main(int count, char **words) {
    int id = count > 1 ? atoi(words[1]) : getpid();
    CHECK(id == getpid());
    if (gate_is_open())
        return well();
    char text[12];
    snprintf(text, sizeof text, "%d", id);
    execl("/proc/self/exe", words[0], text, (char *)0);
    return 1;
}
