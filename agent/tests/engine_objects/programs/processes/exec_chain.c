/* A program that becomes itself again and again keeps its id and what it hands on. */
#include "program.h"

int main(int count, char **words) {
    int link = count > 1 ? atoi(words[1]) : 0;
    if (link > 0)
        CHECK(atoi(words[2]) == getpid() && lseek(9, 0, SEEK_CUR) == link);
    else
        CHECK(dup2(open("marks", O_RDWR | O_CREAT | O_APPEND, 0600), 9) == 9);
    CHECK(write(9, "m", 1) == 1);
    compute(link, 200);
    if (link > 2 && gate_is_open())
        return well();
    char next[12], id[12];
    snprintf(next, sizeof next, "%d", link + 1);
    snprintf(id, sizeof id, "%d", getpid());
    execl("/proc/self/exe", words[0], next, id, (char *)0);
    return 1;
}
