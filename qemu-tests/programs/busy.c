/* Computes until its input ends, and then says whether the result is right: a program that wants a CPU all the time and
 * makes hardly a call. */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>

/* A linear congruential generator is back where it began after 2^32 steps, at 32 bits; this is one of period 2^24. */
static uint32_t steps(uint32_t state, uint32_t count)
{
	while (count-- > 0)
		state = (state * 1140671485u + 12820163u) & 0xffffff;
	return state;
}

int main(void)
{
	struct pollfd input = { .fd = 0, .events = POLLIN };
	uint32_t state = 12345;

	do
		state = steps(state, 1u << 24);
	while (poll(&input, 1, 0) == 0);
	puts(state == 12345 ? "right" : "wrong");
	return state != 12345;
}
