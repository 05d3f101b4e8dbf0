/* Copies lines from its input to its output, numbered and reversed: pipes in both directions, with a
 * forwarded call for every line. */
#include <string.h>

#include "paced.h"

int main(void)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t length;
	long number = 0;

	while ((length = getline(&line, &room, stdin)) > 0) {
		if (line[length - 1] == '\n')
			length--;
		for (ssize_t i = 0; i < length / 2; i++) {
			char byte = line[i];
			line[i] = line[length - 1 - i];
			line[length - 1 - i] = byte;
		}
		printf("%ld %.*s\n", number++, (int)length, line);
		fflush(stdout);
	}
	free(line);
	printf("end\n");
	return 0;
}
