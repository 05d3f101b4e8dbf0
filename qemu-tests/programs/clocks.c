/* Sleeps and looks at clocks: monotonic time must not go back, sleeps must not end early, whatever
 * machine they happen on. Prints nothing that depends on the time. Paced. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/time.h>
#include <time.h>

#include "paced.h"

static double seconds(clockid_t clock)
{
	struct timespec now;
	if (clock_gettime(clock, &now))
		fail("clock_gettime");
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Every other function of the vDSO; each kernel has its own there. */
static void ask_the_vdso(void)
{
	struct timeval now;
	struct timespec coarse, resolution;
	unsigned cpu, node;

	if (gettimeofday(&now, NULL) || now.tv_sec < 1000000000)
		fail("gettimeofday");
	if (time(NULL) < now.tv_sec - 1)
		fail("time");
	if (clock_gettime(CLOCK_MONOTONIC_COARSE, &coarse) || clock_gettime(CLOCK_BOOTTIME, &coarse))
		fail("coarse clocks");
	if (clock_getres(CLOCK_MONOTONIC, &resolution) || resolution.tv_sec || resolution.tv_nsec > 10000000)
		fail("clock_getres");
	if (getcpu(&cpu, &node) || cpu >= 4096)
		fail("getcpu");
}

int main(void)
{
	double last = seconds(CLOCK_MONOTONIC);

	for (int leg = 0;; leg++) {
		begin_leg(leg);
		ask_the_vdso();
		for (int round = 0; round < 10; round++) {
			struct timespec pause = { 0, 30 * 1000 * 1000 };
			double before = seconds(CLOCK_MONOTONIC), after;
			if (before < last)
				fail("monotonic time went back");
			while (nanosleep(&pause, &pause))
				if (errno != EINTR)
					fail("nanosleep");
			if (poll(NULL, 0, 10) != 0)
				fail("poll");
			after = seconds(CLOCK_MONOTONIC);
			if (after - before < 0.0399)
				fail("a sleep ended early");
			last = after;
		}
		printf("slept\n");
		if (!wait_for_pace())
			break;
	}
	printf("end\n");
	return 0;
}
