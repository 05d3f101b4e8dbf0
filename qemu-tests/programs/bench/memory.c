/*
 * Has so much memory, full of bytes that do not repeat, and so many threads; all but the first sleep.
 *
 *   memory MEBIBYTES THREADS serve         says "ready PID ADDRESS", then does what lines of its input say:
 *                                          dirty N           writes one byte to every Nth page
 *                                          sequential N      visits N pages in their order
 *                                          random N          visits N pages in no order
 *                                          stencil N         visits N pages, each with those 64 pages before
 *                                                            and behind it, and writes to it
 *                                          and answers with the nanoseconds that took
 *   memory MEBIBYTES THREADS watch FILE    looks at nothing but the clock, and appends a line to FILE every
 *                                          50 ms: the time (CLOCK_MONOTONIC), and the longest time since the
 *                                          line before in which it did not run, both in nanoseconds
 *
 * A visit reads a page's words, so that it does some work there, as programs do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "measured.h"

#define PAGE_BYTES 4096UL
#define PAGE_WORDS (PAGE_BYTES / sizeof(uint64_t))
#define HUGE_PAGE_BYTES (2UL << 20)
#define STENCIL_PAGES 64
#define LINE_NS 50000000LL
/* Long enough that the error of looking at two clocks one after the other does not matter. */
#define CALIBRATION_NS 20000000LL

static uint64_t *area;
static unsigned long pages;
static volatile uint64_t result;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;

static void fill(unsigned long mebibytes)
{
	uint64_t state = 1;
	char *whole = mmap(NULL, (mebibytes << 20) + HUGE_PAGE_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (whole == MAP_FAILED)
		fail("mmap");
	area = (uint64_t *)(whole + -(uintptr_t)whole % HUGE_PAGE_BYTES);
	pages = (mebibytes << 20) / PAGE_BYTES;
	for (unsigned long i = 0; i < pages * PAGE_WORDS; i++)
		area[i] = state = next(state);
}

static void *sleeper(void *unused)
{
	pthread_mutex_lock(&lock);
	for (;;)
		pthread_cond_wait(&never, &lock);
	return unused;
}

static void start_threads(long count)
{
	pthread_attr_t small;
	pthread_t thread;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 256 << 10);
	for (long i = 1; i < count; i++)
		if ((errno = pthread_create(&thread, &small, sleeper, NULL)))
			fail("pthread_create");
}

static void visit(unsigned long page)
{
	const uint64_t *words = area + page % pages * PAGE_WORDS;
	uint64_t sum = 0;

	for (unsigned long i = 0; i < PAGE_WORDS; i++)
		sum += words[i] ^ (sum >> 7);
	result += sum;
}

static void dirty(unsigned long every)
{
	for (unsigned long page = 0; page < pages; page += every)
		area[page * PAGE_WORDS] += 1;
}

static void walk(const char *pattern, unsigned long count)
{
	uint64_t state = 1;

	for (unsigned long i = 0; i < count; i++) {
		if (pattern[0] == 'r') {
			state = next(state);
			visit(state >> 24);
			continue;
		}
		visit(i);
		if (pattern[1] == 't') {
			visit(i + STENCIL_PAGES);
			visit(i + pages - STENCIL_PAGES);
			area[i % pages * PAGE_WORDS] = result;
		}
	}
}

static int serve(void)
{
	char line[128], name[16];
	unsigned long count;

	printf("ready %d %lu\n", getpid(), (unsigned long)area);
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		long long begin_ns = ns_of(CLOCK_MONOTONIC);

		if (sscanf(line, "%15s %lu", name, &count) != 2 || !count) {
			fprintf(stderr, "memory: not a line for me: %s", line);
			return 2;
		}
		if (!strcmp(name, "dirty"))
			dirty(count);
		else if (!strcmp(name, "sequential") || !strcmp(name, "random") || !strcmp(name, "stencil"))
			walk(name, count);
		else {
			fprintf(stderr, "memory: %s is nothing that I do\n", name);
			return 2;
		}
		printf("%lld\n", ns_of(CLOCK_MONOTONIC) - begin_ns);
		fflush(stdout);
	}
	return 0;
}

/* The time stamp counter needs no code of the kernel's, in which a program cannot be stopped at once. */
static void watch(const char *path)
{
	int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	long long begin_ns = ns_of(CLOCK_MONOTONIC);
	uint64_t begin = __rdtsc();

	if (file < 0)
		fail(path);
	while (ns_of(CLOCK_MONOTONIC) - begin_ns < CALIBRATION_NS)
		;
	double ns_per_tick = (double)(ns_of(CLOCK_MONOTONIC) - begin_ns) / (double)(__rdtsc() - begin);
	uint64_t line_ticks = (uint64_t)(LINE_NS / ns_per_tick), last = __rdtsc();
	for (;;) {
		/* What a line's write took counts in the next: it may be there that the program is stopped. */
		uint64_t line_begin = last, now = last, longest = 0;

		while (now - line_begin < line_ticks) {
			now = __rdtsc();
			if (now - last > longest)
				longest = now - last;
			last = now;
		}
		if (dprintf(file, "%lld %lld\n", ns_of(CLOCK_MONOTONIC), (long long)(longest * ns_per_tick)) < 0)
			fail("write");
	}
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: memory MEBIBYTES THREADS serve|watch [FILE]\n");
		return 2;
	}
	fill(strtoul(argv[1], NULL, 10));
	start_threads(strtol(argv[2], NULL, 10));
	if (argc > 4 && !strcmp(argv[3], "watch"))
		watch(argv[4]);
	return serve();
}
