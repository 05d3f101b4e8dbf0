/* A child and its parent talk through two pipes for as long as both live. */
#include "program.h"

int main(void) {
    int to_child[2], to_parent[2];
    CHECK(pipe(to_child) == 0 && pipe(to_parent) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(close(to_child[1]) == 0 && close(to_parent[0]) == 0);
        uint64_t question;
        ssize_t length;
        while ((length = read(to_child[0], &question, sizeof question)) == sizeof question) {
            question = compute(question, 2);
            CHECK(write(to_parent[1], &question, sizeof question) == sizeof question);
        }
        CHECK(length == 0);
        _exit(70);
    }
    CHECK(close(to_child[0]) == 0 && close(to_parent[1]) == 0);
    uint64_t round = 0, answer;
    do {
        round++;
        CHECK(write(to_child[1], &round, sizeof round) == sizeof round);
        uint64_t own = compute(round, 2);
        read_whole(to_parent[0], &answer, sizeof answer);
        CHECK(answer == own);
    } while (!gate_is_open());
    CHECK(close(to_child[1]) == 0 && exit_status_of(child) == 70);
    CHECK(read(to_parent[0], &answer, 1) == 0);
    return well();
}
