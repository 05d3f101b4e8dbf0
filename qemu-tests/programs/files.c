/* Works on files in the directory named by its argument: writes, seeks, reads back, truncates, renames,
 * lists, removes, and keeps one file open over all legs. Paced. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "paced.h"

static void check(int holds, const char *what)
{
	if (!holds)
		fail(what);
}

int main(int argc, char **argv)
{
	char text[256], back[256];
	int kept;

	check(argc == 2, "no directory was given");
	check(chdir(argv[1]) == 0, "chdir");
	kept = open("kept", O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0640);
	check(kept >= 0, "open");
	for (int leg = 0;; leg++) {
		struct stat status;
		struct dirent *entry;
		int other, entries = 0;
		DIR *here;

		begin_leg(leg);
		for (int i = 0; i < 50; i++) {
			int length = snprintf(text, sizeof text, "leg %d line %d\n", leg, i);
			check(write(kept, text, (size_t)length) == length, "write");
			check(pread(kept, back, (size_t)length, lseek(kept, 0, SEEK_END) - length) == length, "pread");
			check(!memcmp(text, back, (size_t)length), "what was read back differs");
		}
		check(fstat(kept, &status) == 0, "fstat");
		printf("kept has %lld bytes, mode %o\n", (long long)status.st_size, status.st_mode);

		other = open("other", O_RDWR | O_CREAT | O_EXCL, 0600);
		check(other >= 0, "create");
		struct iovec parts[2] = { { "one ", 4 }, { "two", 3 } };
		check(writev(other, parts, 2) == 7, "writev");
		check(ftruncate(other, 5) == 0, "ftruncate");
		check(lseek(other, 0, SEEK_SET) == 0, "lseek");
		memset(back, 0, sizeof back);
		check(read(other, back, sizeof back) == 5, "read");
		printf("other holds \"%s\"\n", back);
		check(close(other) == 0 && close(other) == -1 && errno == EBADF, "close");
		check(rename("other", "renamed") == 0 && access("other", F_OK) == -1 && errno == ENOENT, "rename");
		here = opendir(".");
		check(here != NULL, "opendir");
		while ((entry = readdir(here)))
			entries++;
		closedir(here);
		printf("%d entries\n", entries);
		check(unlink("renamed") == 0, "unlink");
		if (!wait_for_pace())
			break;
	}
	printf("end\n");
	return 0;
}
