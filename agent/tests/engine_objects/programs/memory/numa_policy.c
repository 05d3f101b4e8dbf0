/* Memory policies are set, told and forgotten. */
#include "program.h"
#include <sys/syscall.h>
#define PAGE 4096ul
enum { DEFAULT = 0, BIND = 2 };

int main(void) {
    do {
        unsigned long node = 1;
        int mode = -1;
        char *area = mmap(0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(area != MAP_FAILED);
        if (syscall(SYS_mbind, area, 4 * PAGE, BIND, &node, 64, 0) == 0) {
            CHECK(syscall(SYS_get_mempolicy, &mode, 0, 0, area, 2) == 0 && mode == BIND);
            CHECK(syscall(SYS_mbind, area, 4 * PAGE, DEFAULT, 0, 0, 0) == 0);
        } else {
            CHECK(errno == ENOSYS || errno == EPERM);
        }
        area[0] = 1;
        compute(1, 100);
        CHECK(area[0] == 1 && area[PAGE] == 0 && munmap(area, 4 * PAGE) == 0);
    } while (!gate_is_open());
    return well();
}
