/* PROCMAP_QUERY (ioctl_procmap_query) tells of single mappings of a descriptor of /proc/self/maps that was
   opened long before. */
#include "program.h"
#include <sys/ioctl.h>

/* struct procmap_query and its numbers (linux/fs.h, since Linux 6.11). */
struct query {
    uint64_t size, flags, address, start, end, vma_flags, page_size, offset, inode;
    uint32_t major, minor, name_size, build_id_size;
    uint64_t name, build_id;
};
#define QUERY _IOWR('f', 17, struct query)

int main(void) {
    int fd = open("/proc/self/maps", O_RDONLY);
    CHECK(fd >= 0);
    do {
        char *mine = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct query query = {.size = sizeof query, .address = (uintptr_t)mine};
        // ENOTTY: this kernel has no such request.
        int result = ioctl(fd, QUERY, &query);
        CHECK(result == 0 || errno == ENOTTY);
        if (result == 0)
            CHECK(query.start <= (uintptr_t)mine && query.end > (uintptr_t)mine && (query.vma_flags & 1));
        CHECK(munmap(mine, 4096) == 0);
        compute(1, 100);
    } while (!gate_is_open());
    return well();
}
