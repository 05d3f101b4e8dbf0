/* exec closes what was opened with O_CLOEXEC, and nothing else; offsets stay where they were. */
#include "program.h"

int main(int count, char **arguments) {
    if (count > 1) {
        int closed = atoi(arguments[1]), kept = atoi(arguments[2]);
        char text[3];
        CHECK(fcntl(closed, F_GETFD) == -1 && errno == EBADF);
        CHECK(fcntl(kept, F_GETFD) == 0 && read(kept, text, 3) == 3 && !memcmp(text, "def", 3));
        return 34;
    }
    make_file("letters", "abcdefghi");
    do {
        int closed = open("letters", O_RDONLY | O_CLOEXEC), kept = open("letters", O_RDONLY), ends[2];
        char text[3], first[12], second[12];
        CHECK(read(kept, text, 3) == 3 && pipe2(ends, O_CLOEXEC) == 0);
        snprintf(first, sizeof first, "%d", closed);
        snprintf(second, sizeof second, "%d", kept);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            execl("/proc/self/exe", "again", first, second, (char *)0);
            _exit(errno);
        }
        /* the pipe ends when the child's end of it is closed by its exec */
        CHECK(close(ends[1]) == 0 && read(ends[0], text, 1) == 0 && close(ends[0]) == 0);
        CHECK(exit_status_of(child) == 34);
        CHECK(read(kept, text, 3) == 3 && !memcmp(text, "ghi", 3) && close(kept) == 0);
        CHECK(fcntl(closed, F_GETFD) == FD_CLOEXEC && close(closed) == 0);
    } while (!gate_is_open());
    return well();
}
