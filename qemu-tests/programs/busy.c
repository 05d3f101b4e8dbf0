/* Computes for as many rounds as its argument says, or until its input ends, and then says whether the result is right:
 * a program that wants a CPU all the time and makes hardly a call. */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Some 20 ms: a generator of period 2^24, which is back where it began after each round. */
static uint32_t round_trip(uint32_t state)
{
	for (uint32_t step = 0; step < 1u << 24; step++)
		state = (state * 1140671485u + 12820163u) & 0xffffff;
	return state;
}

int main(int count, char **words)
{
	struct pollfd input = { .fd = 0, .events = POLLIN };
	long rounds = count > 1 ? atol(words[1]) : 0;
	uint32_t state = 12345;

	if (rounds > 0) {
		while (rounds-- > 0)
			state = round_trip(state);
	} else {
		do
			state = round_trip(state);
		while (poll(&input, 1, 0) == 0);
	}
	puts(state == 12345 ? "right" : "wrong");
	return state != 12345;
}
