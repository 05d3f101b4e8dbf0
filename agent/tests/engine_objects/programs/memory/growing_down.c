/* A MAP_GROWSDOWN area grows when the page below it is touched, and stops short of what lies there. */
#include "program.h"
#define PAGE 4096ul

int main(void) {
    do {
        const size_t room = 2048 * PAGE;
        unsigned char *place = mmap(0, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        CHECK(place != MAP_FAILED && munmap(place, room) == 0);
        unsigned char *top = place + room - PAGE;
        CHECK(mmap(top, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE,
                   -1, 0) == top);
        for (int i = 0; i < 40; i++) {
            top[-(long)(i * PAGE)] = i + 1;
            if (i % 16 == 0)
                compute(1, 20);
        }
        for (int i = 0; i < 40; i++)
            CHECK(top[-(long)(i * PAGE)] == i + 1 && top[-(long)(i * PAGE) + 9] == 0);
        CHECK(munmap(top - 39 * PAGE, 40 * PAGE) == 0);
    } while (!gate_is_open());
    return well();
}
