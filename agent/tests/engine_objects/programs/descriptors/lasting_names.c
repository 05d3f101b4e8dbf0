/* Whatever a program knows of has happened to its names: what it has been told of them before does not outlive
   what it, or somebody who tells it, has done to them since. */
#include "program.h"
#include <sys/mount.h>

/* Often enough for an answer to be kept. */
enum { TIMES = 12 };

/* The error of all ways to ask for a name; 0 if it is there. access(2) asks for the real user, who is root. */
static int there(const char *name) {
    int error = 0;
    for (int i = 0; i < TIMES; i++) {
        struct stat found;
        int now = stat(name, &found) == 0 ? 0 : errno;
        CHECK(i == 0 || now == error);
        error = now;
        int other = error == EACCES ? ENOENT : error;
        CHECK((access(name, F_OK) == 0 ? 0 : errno) == other);
        CHECK((faccessat(AT_FDCWD, name, R_OK, 0) == 0 ? 0 : errno) == other);
    }
    return error;
}

/* Whether a name is that of a symbolic link; -1 if there is nothing. */
static int is_link(const char *name) {
    char target[64];
    int is = 2;
    for (int i = 0; i < TIMES; i++) {
        int now = readlink(name, target, sizeof target) >= 0 ? 1 : errno == EINVAL ? 0 : -1;
        CHECK(i == 0 || now == is);
        is = now;
    }
    return is;
}

/* Another process, that was there before the program left: makes and removes what it is told to. */
static int orders[2], answers[2];

static void serve(void) {
    char order;
    CHECK(mkdir("other", 0755) == 0 && chdir("other") == 0);
    while (read(orders[0], &order, 1) == 1) {
        switch (order) {
        case '+': make_file("file", "x"); break;
        case '-': CHECK(unlink("file") == 0); break;
        case 'l': CHECK(symlink("nothing", "file") == 0); break;
        case 'd': CHECK(mkdir("down", 0755) == 0); break;
        case 'u': CHECK(rename("down", "up") == 0); break;
        case 'r': CHECK(rmdir("up") == 0); break;
        case 'm': CHECK(mount("none", "down", "tmpfs", 0, "mode=755") == 0); break;
        case 'f': make_file("down/x", "x"); break;
        case 'n': CHECK(umount2("down", 0) == 0); break;
        }
        CHECK(write(answers[1], &order, 1) == 1);
    }
    CHECK(chdir("..") == 0 && rmdir("other") == 0);
    _exit(0);
}

static void order(char what) {
    char answer;
    CHECK(write(orders[1], &what, 1) == 1 && read(answers[0], &answer, 1) == 1 && answer == what);
}

static void by_another(const char *here) {
    char file[PATH_MAX], below[PATH_MAX];
    snprintf(file, sizeof file, "%s/other/file", here);
    snprintf(below, sizeof below, "%s/other/down/x", here);
    CHECK(there(file) == ENOENT && there("other/file") == ENOENT && is_link("other") == 0);
    order('+');
    CHECK(there(file) == 0 && there("other/file") == 0 && is_link(file) == 0);
    order('-');
    CHECK(there(file) == ENOENT && is_link("other/file") == -1);
    order('l');
    /* It leads to nothing, but is there. */
    CHECK(there(file) == ENOENT && is_link("other/file") == 1 && is_link(file) == 1);
    order('-');
    CHECK(is_link(file) == -1 && there(below) == ENOENT && there("other/down") == ENOENT);
    order('d');
    CHECK(there("other/down") == 0 && there(below) == ENOENT && is_link("other/down") == 0);
    /* A mount changes what is found without any event in the directory. */
    order('m');
    CHECK(there(below) == ENOENT && is_link("other/down/x") == -1);
    order('f');
    CHECK(there(below) == 0 && is_link("other/down/x") == 0);
    order('n');
    CHECK(there(below) == ENOENT && is_link("other/down/x") == -1);
    order('u');
    CHECK(there("other/down") == ENOENT && is_link("other/up") == 0 && there("other/up") == 0);
    order('r');
    CHECK(is_link("other/up") == -1);
}

static void by_itself(const char *here) {
    char deep[PATH_MAX];
    snprintf(deep, sizeof deep, "%s/one/two/../two/./three", here);
    CHECK(mkdir("one", 0755) == 0 && there(deep) == ENOENT && mkdir("one/two", 0755) == 0);
    CHECK(there(deep) == ENOENT && is_link("one/two") == 0);
    make_file("one/two/three", "3");
    CHECK(there(deep) == 0 && is_link(deep) == 0);
    /* Another directory takes the place of one on the way, and a link that of another. */
    CHECK(rename("one", "was") == 0 && there(deep) == ENOENT && there("was/two/three") == 0);
    CHECK(mkdir("one", 0755) == 0 && there(deep) == ENOENT);
    CHECK(symlink("../was/two", "one/two") == 0 && there(deep) == 0 && is_link("one/two") == 1);
    CHECK(unlink("one/two") == 0 && is_link("one/two") == -1 && there(deep) == ENOENT);
    CHECK(renameat2(AT_FDCWD, "one", AT_FDCWD, "was", RENAME_EXCHANGE) == 0);
    CHECK(there(deep) == 0 && there("was/two") == ENOENT);
    /* The same relative name, elsewhere. */
    CHECK(there("two/three") == ENOENT && chdir("one") == 0 && there("two/three") == 0);
    CHECK(there("../one/four") == ENOENT && chdir("..") == 0 && there("two/three") == ENOENT);
    CHECK(unlink("one/two/three") == 0 && rmdir("one/two") == 0 && there(deep) == ENOENT);
    CHECK(rmdir("one") == 0 && rmdir("was") == 0);
}

/* As somebody else: what is there cannot be found any more, what is not cannot be told. */
static void as_another(void) {
    CHECK(mkdir("closed", 0700) == 0);
    CHECK(there("closed/x") == ENOENT && is_link("closed") == 0);
    if (geteuid() == 0) {
        CHECK(seteuid(65534) == 0 && access("closed/x", F_OK) == -1 && errno == ENOENT);
        CHECK(there("closed/x") == EACCES && seteuid(0) == 0 && there("closed/x") == ENOENT);
    }
    CHECK(rmdir("closed") == 0);
}

int main(void) {
    char here[1024];
    CHECK(getcwd(here, sizeof here) && pipe(orders) == 0 && pipe(answers) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(close(orders[1]) == 0);
        serve();
    }
    order('?');
    do {
        by_another(here);
        by_itself(here);
        as_another();
    } while (!gate_is_open());
    CHECK(close(orders[1]) == 0 && exit_status_of(child) == 0);
    CHECK(there("other") == ENOENT);
    return well();
}
