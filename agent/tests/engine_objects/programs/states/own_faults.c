/* A process that handles its own page faults stays until it stops doing so. */
#include "program.h"
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

static void *wait_for_page(void *page) {
    CHECK(*(volatile char *)page == 'x');
    return NULL;
}

int main(void) {
    const size_t page = 4096;
    int faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api api = {.api = UFFD_API};
    CHECK(faults >= 0 && ioctl(faults, UFFDIO_API, &api) == 0);
    char *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *source = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct uffdio_register watch = {.range = {(uintptr_t)memory, page}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    CHECK(ioctl(faults, UFFDIO_REGISTER, &watch) == 0);
    stay();
    pthread_t reader;
    struct uffd_msg message;
    CHECK(pthread_create(&reader, NULL, wait_for_page, memory) == 0);
    CHECK(read(faults, &message, sizeof message) == sizeof message && message.event == UFFD_EVENT_PAGEFAULT);
    source[0] = 'x';
    struct uffdio_copy copy = {.dst = (uintptr_t)memory, .src = (uintptr_t)source, .len = page};
    CHECK(ioctl(faults, UFFDIO_COPY, &copy) == 0 && pthread_join(reader, NULL) == 0);
    CHECK(ioctl(faults, UFFDIO_UNREGISTER, &watch.range) == 0 && close(faults) == 0);
    be_free();
    return well();
}
