/* Sleeps and looks at clocks: monotonic time must not go back, sleeps must not end early, whatever
 * machine they happen on. Prints nothing that depends on the time. Paced. */
#include <errno.h>
#include <poll.h>
#include <time.h>

#include "paced.h"

static double seconds(clockid_t clock)
{
	struct timespec now;
	if (clock_gettime(clock, &now))
		fail("clock_gettime");
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(void)
{
	double last = seconds(CLOCK_MONOTONIC);

	for (int leg = 0;; leg++) {
		begin_leg(leg);
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
