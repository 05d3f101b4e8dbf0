/* Takes as many MiB of memory as a line of its input says, keeps them until its input ends, and then says whether they
 * still hold what was written to them: a program that is large and does nothing. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	size_t mib, words, wrong = 0;
	uint64_t *memory;

	if (scanf("%zu", &mib) != 1)
		return 2;
	words = (mib << 20) / sizeof *memory;
	memory = malloc(words * sizeof *memory);
	if (!memory)
		return 3;
	for (size_t word = 0; word < words; word++)
		memory[word] = word * 2654435761u;
	printf("grown\n");
	fflush(stdout);
	while (getchar() != EOF)
		;
	for (size_t word = 0; word < words; word++)
		wrong += memory[word] != word * 2654435761u;
	puts(wrong == 0 ? "right" : "wrong");
	return wrong != 0;
}
