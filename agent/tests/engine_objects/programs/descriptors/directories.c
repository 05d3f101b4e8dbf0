/* Directories list each entry once, and go on from a told position. */
#include "program.h"
#include <sys/syscall.h>

int main(void) {
    CHECK(mkdir("d", 0700) == 0 && chdir("d") == 0);
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "entry-%02d", i);
        make_file(name, "");
    }
    do {
        bool seen[100] = {false};
        int fd = open(".", O_RDONLY | O_DIRECTORY), count = 0;
        char buffer[512];
        // A small buffer, so that there are many calls.
        for (long n; (n = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0;)
            for (long at = 0; at < n;) {
                struct dirent64 *entry = (void *)(buffer + at);
                at += entry->d_reclen;
                int number;
                if (sscanf(entry->d_name, "entry-%d", &number) == 1) {
                    CHECK(!seen[number] && entry->d_type == DT_REG);
                    seen[number] = true;
                    count++;
                }
            }
        CHECK(count == 100 && lseek(fd, 0, SEEK_SET) == 0 && close(fd) == 0);
        DIR *d = opendir(".");
        for (int i = 0; i < 50; i++)
            CHECK(readdir(d));
        long place = telldir(d);
        char name[256];
        strcpy(name, readdir(d)->d_name);
        CHECK(readdir(d));
        seekdir(d, place);
        CHECK(!strcmp(readdir(d)->d_name, name));
        closedir(d);
        CHECK(syscall(SYS_getdents64, 0, buffer, sizeof buffer) == -1 && errno == ENOTDIR);
    } while (!gate_is_open());
    return well();
}
