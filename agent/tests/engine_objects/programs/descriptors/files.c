/* Files: offsets, vectors, appending, transfers larger than any buffer, truncation, directories. */
#include "program.h"

#define BIG (1 << 19)

static char directory[] = "limosa-files-XXXXXX";

static void small_transfers(void) {
    int fd = open("small", O_RDWR | O_CREAT | O_TRUNC, 0640);
    CHECK(fd >= 0);
    CHECK(write(fd, "hello world", 11) == 11);
    CHECK(lseek(fd, 0, SEEK_CUR) == 11);
    CHECK(lseek(fd, -5, SEEK_END) == 6);
    char text[32] = {0};
    CHECK(read(fd, text, sizeof text) == 5 && !strcmp(text, "world"));
    CHECK(read(fd, text, sizeof text) == 0);
    CHECK(pwrite(fd, "W", 1, 6) == 1);
    CHECK(pread(fd, text, 5, 6) == 5 && !memcmp(text, "World", 5));
    struct iovec out[3] = {{"ab", 2}, {"", 0}, {"cde", 3}};
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    CHECK(writev(fd, out, 3) == 5);
    char a[3] = {0}, b[4] = {0};
    struct iovec in[2] = {{a, 2}, {b, 3}};
    CHECK(preadv(fd, in, 2, 0) == 5 && !strcmp(a, "ab") && !strcmp(b, "cde"));
    struct stat status;
    CHECK(fstat(fd, &status) == 0 && status.st_size == 11 && (status.st_mode & 0777) == 0640);
    CHECK(ftruncate(fd, 4) == 0 && fstat(fd, &status) == 0 && status.st_size == 4);
    CHECK(ftruncate(fd, 100000) == 0 && pread(fd, text, 1, 99999) == 1 && text[0] == 0);
    int copy = dup(fd);
    CHECK(copy > fd && lseek(copy, 3, SEEK_SET) == 3 && lseek(fd, 0, SEEK_CUR) == 3);
    CHECK(fcntl(copy, F_GETFD) == 0 && fcntl(copy, F_SETFD, FD_CLOEXEC) == 0);
    CHECK(fcntl(copy, F_GETFD) == FD_CLOEXEC);
    CHECK(close(copy) == 0 && close(fd) == 0);
    CHECK(write(fd, "x", 1) == -1 && errno == EBADF);
}

static void appending(void) {
    unlink("log");
    int fd = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);
    CHECK(fd >= 0);
    for (int i = 0; i < 20; i++) {
        char line[16];
        int length = snprintf(line, sizeof line, "%d\n", i);
        CHECK(lseek(fd, 0, SEEK_SET) == 0);
        CHECK(write(fd, line, length) == length);
    }
    close(fd);
    FILE *log = fopen("log", "r");
    for (int i = 0; i < 20; i++) {
        int seen;
        CHECK(fscanf(log, "%d", &seen) == 1 && seen == i);
    }
    fclose(log);
}

/* Reads may be short; the end of the file is not. */
static void read_all(int fd, unsigned char *into, size_t length, off_t offset) {
    while (length) {
        ssize_t n = pread(fd, into, length, offset);
        CHECK(n > 0);
        into += n, length -= n, offset += n;
    }
}

static void big_transfers(void) {
    unsigned char *out = malloc(BIG), *in = malloc(BIG);
    for (int i = 0; i < BIG; i++)
        out[i] = (unsigned char)(i * 31 + i / 4096);
    int fd = open("big", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(write(fd, out, BIG) == BIG);
    CHECK(lseek(fd, 0, SEEK_CUR) == BIG);
    read_all(fd, in, BIG, 0);
    CHECK(!memcmp(in, out, BIG));
    CHECK(pwrite(fd, out, BIG, 100) == BIG);
    read_all(fd, in, BIG, 100);
    CHECK(!memcmp(in, out, BIG) && pread(fd, in, BIG, BIG + 50) == 50);
    void *volatile nowhere = (void *)8;
    CHECK(pread(fd, nowhere, 10, 0) == -1 && errno == EFAULT);
    CHECK(pwrite(fd, nowhere, 10, 0) == -1 && errno == EFAULT);
    close(fd);
    free(out);
    free(in);
}

static void names(void) {
    CHECK(mkdir("d", 0755) == 0);
    for (int i = 0; i < 300; i++) {
        char name[64];
        snprintf(name, sizeof name, "d/a-file-with-quite-a-long-name-%03d", i);
        int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
        CHECK(fd >= 0 && close(fd) == 0);
    }
    DIR *d = opendir("d");
    CHECK(d);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(d));)
        if (entry->d_name[0] != '.') {
            CHECK(unlinkat(dirfd(d), entry->d_name, 0) == 0);
            count++;
        }
    CHECK(count == 300 && closedir(d) == 0);
    CHECK(rename("d", "e") == 0 && symlink("target", "link") == 0);
    char target[64] = {0};
    CHECK(readlink("link", target, sizeof target) == 6 && !strcmp(target, "target"));
    CHECK(unlink("link") == 0 && rmdir("e") == 0);
    CHECK(open("nothing/here", O_RDONLY) == -1 && errno == ENOENT);
    struct stat status;
    CHECK(stat("small", &status) == 0 && S_ISREG(status.st_mode));
    CHECK(access("small", R_OK) == 0 && chmod("small", 0) == 0 && unlink("small") == 0);
}

int main(void) {
    CHECK(chdir("/tmp") == 0 && mkdtemp(directory) && chdir(directory) == 0);
    do {
        small_transfers();
        appending();
        big_transfers();
        names();
    } while (!gate_is_open());
    unlink("log");
    unlink("big");
    CHECK(chdir("..") == 0 && rmdir(directory) == 0);
    puts("files as expected");
    return 0;
}
