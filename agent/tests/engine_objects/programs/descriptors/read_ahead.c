/* Reading a file in small pieces gives what it contains now, as far as the program can know, and its offset is
   where the program has read to, whoever looks. */
#include "program.h"
#include <sys/statvfs.h>

enum { PIECES = 600, PIECE = 16 };

/* Another process, which was there before the program left and changes the file. */
static int orders[2], answers[2];
static volatile sig_atomic_t told;

static void hear(int signal) {
    told = signal;
}

static void put(int fd, const char *text, off_t at) {
    CHECK(pwrite(fd, text, strlen(text), at) == (ssize_t)strlen(text));
}

static void serve(pid_t parent) {
    char order;
    int fd = open("contents", O_WRONLY);
    CHECK(fd >= 0);
    while (read(orders[0], &order, 1) == 1) {
        switch (order) {
        case 'w': put(fd, "WRITTEN BY OTHER", PIECE * 40); break;
        case 'a': put(fd, "and more", PIECE * PIECES); break;
        case 't': CHECK(ftruncate(fd, PIECE * PIECES) == 0); break;
        case 's':
            CHECK(write(answers[1], &order, 1) == 1);
            sleep_ms(30);
            put(fd, "BEFORE A SIGNAL!", PIECE * 50);
            CHECK(kill(parent, SIGUSR1) == 0);
            continue;
        }
        CHECK(write(answers[1], &order, 1) == 1);
    }
    _exit(0);
}

static void order(char what) {
    char answer;
    CHECK(write(orders[1], &what, 1) == 1 && read(answers[0], &answer, 1) == 1 && answer == what);
}

static void expect(int fd, int number) {
    char piece[PIECE + 1] = "", expected[PIECE + 1];
    snprintf(expected, sizeof expected, "piece %09d\n", number);
    CHECK(read(fd, piece, PIECE) == PIECE && strcmp(piece, expected) == 0);
}

static void expect_text(int fd, const char *text) {
    char piece[PIECE + 1] = "";
    CHECK(read(fd, piece, PIECE) == PIECE && strcmp(piece, text) == 0);
}

static void fill(void) {
    int fd = open("contents", O_WRONLY | O_CREAT, 0644);
    CHECK(fd >= 0);
    char text[PIECE + 1];
    for (int i = 0; i < PIECES; i++) {
        snprintf(text, sizeof text, "piece %09d\n", i);
        put(fd, text, PIECE * i);
    }
    CHECK(close(fd) == 0);
}

/* Where the kernel says that a descriptor is. */
static off_t kernels_offset(int fd) {
    char name[64], line[64];
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
    FILE *file = fopen(name, "r");
    CHECK(file && fgets(line, sizeof line, file) && strncmp(line, "pos:", 4) == 0);
    CHECK(fclose(file) == 0);
    return atoll(line + 4);
}

static void whole(void) {
    struct stat before, after;
    int fd = open("contents", O_RDONLY);
    CHECK(fd >= 0 && fstat(fd, &before) == 0 && before.st_size == PIECE * PIECES);
    for (int i = 0; i < PIECES; i++)
        expect(fd, i);
    char more;
    CHECK(read(fd, &more, 1) == 0 && lseek(fd, 0, SEEK_CUR) == PIECE * PIECES);
    order('a');
    CHECK(read(fd, &more, 1) == 1 && more == 'a' && fstat(fd, &after) == 0);
    CHECK(after.st_size == before.st_size + 8 && after.st_ino == before.st_ino);
    order('t');
    CHECK(read(fd, &more, 1) == 0 && close(fd) == 0);
    /* At once, without asking how much there is. */
    static char all[PIECE * PIECES + 1];
    fd = open("contents", O_RDONLY);
    CHECK(fd >= 0 && read(fd, all, sizeof all) == PIECE * PIECES && close(fd) == 0);
    CHECK(memcmp(all + PIECE * 599, "piece 000000599\n", PIECE) == 0);
}

static void changed_by_another(void) {
    int fd = open("contents", O_RDONLY);
    for (int i = 0; i < 40; i++)
        expect(fd, i);
    order('w');
    expect_text(fd, "WRITTEN BY OTHER");
    told = 0;
    order('s');
    for (int i = 41; i < 50; i++)
        expect(fd, i);
    while (!told)
        ;
    expect_text(fd, "BEFORE A SIGNAL!");
    CHECK(close(fd) == 0);
}

/* The offset is shared with a child and with copies. */
static void shared(void) {
    int fd = open("contents", O_RDONLY);
    for (int i = 0; i < 20; i++)
        expect(fd, i);
    CHECK(kernels_offset(fd) == 20 * PIECE);
    for (int i = 20; i < 30; i++)
        expect(fd, i);
    int copy = dup(fd);
    expect(copy, 30);
    expect(fd, 31);
    expect(fd, 32);
    expect(copy, 33);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (int i = 34; i < 38; i++)
            expect(fd, i);
        _exit(7);
    }
    CHECK(exit_status_of(child) == 7);
    for (int i = 38; i < 39; i++)
        expect(copy, i);
    CHECK(lseek(fd, 0, SEEK_CUR) == 39 * PIECE && lseek(fd, 5 * PIECE, SEEK_SET) == 5 * PIECE);
    expect(fd, 5);
    CHECK(close(fd) == 0 && close(copy) == 0);
    /* The same number, another file. */
    int other = open("other", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(other == fd && write(other, "abcdef", 6) == 6 && lseek(other, 0, SEEK_SET) == 0);
    char letters[4] = "";
    for (int i = 0; i < 3; i++)
        CHECK(read(other, letters + i, 1) == 1);
    CHECK(strcmp(letters, "abc") == 0 && write(other, "X", 1) == 1);
    CHECK(read(other, letters, 3) == 2 && memcmp(letters, "ef", 2) == 0);
    CHECK(close(other) == 0 && unlink("other") == 0);
}

/* Reads to the end what somebody else reads at the same time; the sum of the pieces' numbers. */
static int sum_of_pieces(int fd) {
    char piece[PIECE + 1] = "";
    int sum = 0;
    ssize_t n;
    while ((n = read(fd, piece, PIECE)) == PIECE)
        sum += atoi(piece + 6);
    CHECK(n == 0);
    return sum;
}

/* Of two who read by the same descriptor each piece comes to one; if `copies`, by a copy of it whose number was that of
   another file. */
static void at_the_same_time(bool copies) {
    int sum, ends[2], fd = open("contents", O_RDONLY);
    CHECK(fd >= 0 && pipe(ends) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        sum = sum_of_pieces(fd);
        CHECK(write(ends[1], &sum, sizeof sum) == sizeof sum);
        _exit(0);
    }
    if (copies) {
        int other = open("contents", O_RDONLY);
        CHECK(other >= 0 && close(other) == 0 && dup(fd) == other && close(fd) == 0);
        fd = other;
    }
    int mine = sum_of_pieces(fd);
    CHECK(read(ends[0], &sum, sizeof sum) == sizeof sum && exit_status_of(child) == 0);
    CHECK(mine + sum == PIECES * (PIECES - 1) / 2);
    CHECK(close(fd) == 0 && close(ends[0]) == 0 && close(ends[1]) == 0);
}

/* Who opens a file and does not read it has not read it. */
static void times(void) {
    struct timespec long_ago[2] = {{1000, 0}, {2000, 0}};
    struct stat found;
    CHECK(utimensat(AT_FDCWD, "contents", long_ago, 0) == 0);
    int fd = open("contents", O_RDONLY);
    CHECK(fd >= 0 && fstat(fd, &found) == 0 && found.st_atime == 1000 && close(fd) == 0);
    CHECK(stat("contents", &found) == 0 && found.st_atime == 1000);
    fd = open("contents", O_RDONLY);
    expect(fd, 0);
    struct statvfs system;
    CHECK(fstatvfs(fd, &system) == 0 && fstat(fd, &found) == 0 && found.st_mtime == 2000);
    CHECK(system.f_flag & ST_NOATIME ? found.st_atime == 1000 : found.st_atime > 2000);
    CHECK((fcntl(fd, F_GETFL) & (O_ACCMODE | O_NOATIME)) == O_RDONLY && close(fd) == 0);
}

int main(void) {
    CHECK(pipe(orders) == 0 && pipe(answers) == 0);
    CHECK(signal(SIGUSR1, hear) != SIG_ERR);
    fill();
    pid_t self = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(close(orders[1]) == 0);
        serve(self);
    }
    do {
        fill();
        whole();
        changed_by_another();
        fill();
        shared();
        at_the_same_time(false);
        at_the_same_time(true);
        times();
    } while (!gate_is_open());
    CHECK(close(orders[1]) == 0 && exit_status_of(child) == 0 && unlink("contents") == 0);
    return well();
}
