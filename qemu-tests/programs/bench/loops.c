/*
 * Does what a line of its input names as often as it says, and answers with the nanoseconds that took, and with
 * those of CPU time, without its children's:
 *
 *   integer N   float N      arithmetic that the compiler cannot foresee
 *   memory N                 reads and writes all over 256 MiB of huge pages
 *   getppid N                calls that a process at home makes at once
 *   fork N                   children that execute this program, which ends at once, and are waited for
 *   faults N                 pages of fresh memory touched
 *   zero N                   bytes read from /dev/zero one by one: when away, each is a forwarded call
 *   file N PATH              reads of 64 bytes, one after the other, from the file's beginning
 *
 * The clocks are looked at here, beside the loop: how the line came and how the answer goes costs nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "measured.h"

#define MEMORY_BYTES (256UL << 20)
#define HUGE_PAGE_BYTES (2UL << 20)
#define PAGE_BYTES 4096UL
#define FAULTS_BYTES (16UL << 20)

/* What the loops compute goes here, so that they cannot be left out. */
static volatile uint64_t result;

static void integers(long count)
{
	uint64_t state = result + 1;

	for (long i = 0; i < count; i++)
		state = next(state) ^ (state >> 29);
	result = state;
}

static void floats(long count)
{
	double x = 0.5 + result % 2;

	for (long i = 0; i < count; i++)
		x = x * 0.999999 + 1.0 / (x + 1.5);
	result = (uint64_t)(x * 1e6);
}

/* Half of the accesses follow each other, half are anywhere: bandwidth and the translation of addresses. */
static void memory(long count)
{
	static uint64_t *words;
	const uint64_t mask = MEMORY_BYTES / sizeof *words - 1;
	uint64_t state = 1;

	if (!words) {
		char *area = mmap(NULL, MEMORY_BYTES + HUGE_PAGE_BYTES, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (area == MAP_FAILED)
			fail("mmap");
		area += -(uintptr_t)area % HUGE_PAGE_BYTES;
		/* A kernel without huge pages refuses; then nobody has them, natively or away. */
		(void)madvise(area, MEMORY_BYTES, MADV_HUGEPAGE);
		words = (uint64_t *)area;
		for (uint64_t i = 0; i <= mask; i++)
			words[i] = state = next(state);
	}
	for (long i = 0; i < count; i++) {
		state = next(state) + words[(uint64_t)i & mask];
		words[(state >> 20) & mask] += state;
	}
	result = state;
}

static void parents(long count)
{
	for (long i = 0; i < count; i++)
		result += syscall(SYS_getppid);
}

static void forks(long count)
{
	char *words[] = { "loops", "end", NULL };

	for (long i = 0; i < count; i++) {
		pid_t pid = fork();
		int status;

		if (pid < 0)
			fail("fork");
		if (!pid) {
			execv("/proc/self/exe", words);
			_exit(127);
		}
		if (waitpid(pid, &status, 0) != pid || status)
			fail("waitpid");
	}
}

static void faults(long count)
{
	while (count > 0) {
		char *area = mmap(NULL, FAULTS_BYTES, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (area == MAP_FAILED)
			fail("mmap");
		(void)madvise(area, FAULTS_BYTES, MADV_NOHUGEPAGE);
		for (unsigned long at = 0; at < FAULTS_BYTES && count > 0; at += PAGE_BYTES, count--)
			area[at] = 1;
		if (munmap(area, FAULTS_BYTES))
			fail("munmap");
	}
}

static void reads(const char *path, size_t length, long count)
{
	char bytes[64];
	int file = open(path, O_RDONLY);

	if (file < 0)
		fail(path);
	for (long i = 0; i < count; i++)
		if (read(file, bytes, length) != (ssize_t)length)
			fail("read");
	if (close(file))
		fail("close");
}

int main(int argc, char **argv)
{
	char line[512], name[16], path[400];
	long count;

	if (argc > 1 && !strcmp(argv[1], "end"))
		return 0;
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		int words = sscanf(line, "%15s %ld %399s", name, &count, path);
		long long cpu_begin_ns = ns_of(CLOCK_PROCESS_CPUTIME_ID);
		long long begin_ns = ns_of(CLOCK_MONOTONIC);

		if (words < 2) {
			fprintf(stderr, "loops: not a line for me: %s", line);
			return 2;
		} else if (!strcmp(name, "integer"))
			integers(count);
		else if (!strcmp(name, "float"))
			floats(count);
		else if (!strcmp(name, "memory"))
			memory(count);
		else if (!strcmp(name, "getppid"))
			parents(count);
		else if (!strcmp(name, "fork"))
			forks(count);
		else if (!strcmp(name, "faults"))
			faults(count);
		else if (!strcmp(name, "zero"))
			reads("/dev/zero", 1, count);
		else if (!strcmp(name, "file") && words == 3)
			reads(path, 64, count);
		else {
			fprintf(stderr, "loops: no loop is called %s\n", name);
			return 2;
		}
		long long end_ns = ns_of(CLOCK_MONOTONIC);
		long long cpu_end_ns = ns_of(CLOCK_PROCESS_CPUTIME_ID);

		printf("%lld %lld\n", end_ns - begin_ns, cpu_end_ns - cpu_begin_ns);
		fflush(stdout);
	}
	return 0;
}
