/* A daemon forks twice, leaves session, directory and descriptors, and works on when nobody waits for it. */
#include "program.h"
#include <sys/file.h>

static void be_daemon(const char *place) {
    CHECK(setsid() > 0);
    pid_t daemon = fork();
    CHECK(daemon >= 0);
    if (daemon != 0)
        _exit(0);
    CHECK(getsid(0) != getpid() && chdir("/") == 0);
    umask(027);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        CHECK(dup2(null, fd) == fd);
    CHECK(close(null) == 0 && chdir(place) == 0);
    compute(1, 50);
    FILE *file = fopen("daemon.tmp", "w");
    fprintf(file, "%d %d\n", getpid(), getsid(0));
    CHECK(fclose(file) == 0 && rename("daemon.tmp", "daemon.pid") == 0);
    while (access("daemon.stop", F_OK) != 0)
        sleep_ms(1);
    CHECK(unlink("daemon.pid") == 0);
    _exit(0);
}

int main(void) {
    char place[PATH_MAX];
    CHECK(getcwd(place, sizeof place));
    do {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            be_daemon(place);
        CHECK(exit_status_of(child) == 0);
        FILE *file;
        while (!(file = fopen("daemon.pid", "r")))
            sleep_ms(1);
        int pid, session;
        CHECK(fscanf(file, "%d %d", &pid, &session) == 2 && fclose(file) == 0);
        CHECK(session == child && kill(pid, 0) == 0 && getsid(pid) == session);
        struct stat status;
        CHECK(stat("daemon.pid", &status) == 0 && (status.st_mode & 0777) == 0640);
        make_file("daemon.stop", "");
        while (kill(pid, 0) == 0)
            sleep_ms(1);
        CHECK(access("daemon.pid", F_OK) == -1 && unlink("daemon.stop") == 0);
    } while (!gate_is_open());
    return well();
}
