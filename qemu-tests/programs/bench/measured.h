/* What the programs of the benches have in common: how they fail, the time, and a sequence of numbers. */
#ifndef MEASURED_H
#define MEASURED_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Ends the program: what failed, by errno. */
static inline void fail(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(1);
}

/* What a clock shows, in nanoseconds. */
static inline long long ns_of(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now))
		fail("clock_gettime");
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* The next of a linear congruential generator (Knuth, MMIX). */
static inline uint64_t next(uint64_t state)
{
	return state * 6364136223846793005ULL + 1442695040888963407ULL;
}

#endif
