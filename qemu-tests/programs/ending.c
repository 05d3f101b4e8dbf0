/* Says "ready", waits for one byte and ends as its argument says: "exit N", "segv", "abort", "spin". */
#include <string.h>

#include "paced.h"

int main(int argc, char **argv)
{
	volatile unsigned long turns = 0;
	int *volatile nowhere = (int *)8;

	if (argc < 2)
		fail("no ending was given");
	printf("ready\n");
	if (!strcmp(argv[1], "spin"))
		for (fflush(stdout);;)
			turns++;
	wait_for_pace();
	if (!strcmp(argv[1], "exit") && argc == 3)
		exit(atoi(argv[2]));
	if (!strcmp(argv[1], "segv"))
		*nowhere = 1;
	if (!strcmp(argv[1], "abort"))
		abort();
	fail("an unknown ending");
}
