/* Computes in integers, floating point and vectors over a few MiB of its own memory, and checks that
 * what it wrote is still there. Makes no mapping after its first line. Paced. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "paced.h"

#define WORDS (512 * 1024)

static uint64_t words[WORDS];
static char stamp[64];

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ULL;
	return x ^ (x >> 33);
}

int main(void)
{
	double sum = 0;
	uint64_t state = 1;
	pid_t pid = getpid();

	strcpy(stamp, "written before the first leg");
	for (int leg = 0;; leg++) {
		begin_leg(leg);
		for (int round = 0; round < 160; round++) {
			uint64_t check = 0;
			for (size_t i = 0; i < WORDS; i++) {
				state = mix(state + i);
				words[i] = words[i] * 31 + state;
				check += words[i];
			}
			sum += sqrt((double)(check >> 40)) + sin((double)round);
			if (round % 20 == 0)
				printf("round %d check %016llx sum %.12e\n", round, (unsigned long long)check, sum);
		}
		if (strcmp(stamp, "written before the first leg"))
			fail("old memory was lost");
		if (getpid() != pid)
			fail("the pid changed");
		if (!wait_for_pace())
			break;
	}
	printf("end\n");
	return 0;
}
