/*
 * Preloaded into a test of the Linux Test Project: makes it one process that shares memory with nobody.
 *
 * The suite's library counts results in a page that it shares with a child, and runs the test in that
 * child. Both send a guest home before the test begins. With this library
 *
 * 1. the page of results is the process's own,
 * 2. the alarm for the whole test is not set: the child would not inherit it,
 * 3. the fork that would make the child makes none, and the process goes on as the child would,
 * 4. the process group that the child would lead is the one that the process leads already,
 * 5. signs of life for the parent, which is not the suite's, are not sent,
 * 6. programs that the test executes do not load this library.
 *
 * The summary at the end is missing, the lines of the single checks are not. A test whose children
 * report results fails: at home, too, and is left out there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

/* Where the library has the file of that page (setup_ipc() of its tst_test.c). */
static const char RESULTS_FILE[] = "/dev/shm/ltp_";

/* What the library does next, in this order; afterwards all calls are the test's. */
static enum { RESULTS, ALARM, CHILD, GROUP, TEST } next_step;

__attribute__((constructor)) static void leave_environment(void)
{
	unsetenv("LD_PRELOAD");
}

static int is_results_file(int descriptor)
{
	char link[32], path[256];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
	length = readlink(link, path, sizeof(path) - 1);
	if (length < 0)
		return 0;
	path[length] = '\0';
	return strncmp(path, RESULTS_FILE, sizeof(RESULTS_FILE) - 1) == 0;
}

void *mmap(void *address, size_t length, int protection, int flags, int descriptor, off_t offset)
{
	static void *(*next)(void *, size_t, int, int, int, off_t);

	if (!next)
		next = (void *(*)(void *, size_t, int, int, int, off_t))dlsym(RTLD_NEXT, "mmap");
	if ((flags & MAP_TYPE) == MAP_SHARED && descriptor >= 0 && is_results_file(descriptor)) {
		flags = (flags & ~MAP_TYPE) | MAP_PRIVATE;
		next_step = ALARM;
	}
	return next(address, length, protection, flags, descriptor, offset);
}

/* The suite is built for files of any size where it says so. */
void *mmap64(void *address, size_t length, int protection, int flags, int descriptor, off_t offset)
{
	return mmap(address, length, protection, flags, descriptor, offset);
}

unsigned int alarm(unsigned int seconds)
{
	static unsigned int (*next)(unsigned int);

	if (next_step == ALARM) {
		next_step = CHILD;
		return 0;
	}
	if (!next)
		next = (unsigned int (*)(unsigned int))dlsym(RTLD_NEXT, "alarm");
	return next(seconds);
}

pid_t fork(void)
{
	static pid_t (*next)(void);

	if (next_step == CHILD) {
		next_step = GROUP;
		return 0;
	}
	if (!next)
		next = (pid_t (*)(void))dlsym(RTLD_NEXT, "fork");
	return next();
}

int setpgid(pid_t process, pid_t group)
{
	static int (*next)(pid_t, pid_t);

	if (next_step == GROUP) {
		next_step = TEST;
		return 0;
	}
	if (!next)
		next = (int (*)(pid_t, pid_t))dlsym(RTLD_NEXT, "setpgid");
	return next(process, group);
}

int kill(pid_t process, int signal)
{
	static int (*next)(pid_t, int);

	if (signal == SIGUSR1 && process == getppid())
		return 0;
	if (!next)
		next = (int (*)(pid_t, int))dlsym(RTLD_NEXT, "kill");
	return next(process, signal);
}
