/* A 32-bit program stays: this one becomes one, of a page, which waits until the gate opens. */
#include "program.h"
#include <elf.h>

/* access(gate), nanosleep and again; write "well"; exit. The interval and both texts lie behind the code. */
__asm__(".pushsection .rodata\n"
        "code: .code32\n"
        "mov $5, %eax; mov $0x10000900, %ebx; mov $0x41, %ecx; mov $0x180, %edx; int $0x80\n"
        "1: mov $33, %eax; mov $0x10000800, %ebx; xor %ecx, %ecx; int $0x80\n"
        "test %eax, %eax; jz 2f\n"
        "mov $162, %eax; mov $0x10000700, %ebx; xor %ecx, %ecx; int $0x80; jmp 1b\n"
        "2: mov $4, %eax; mov $1, %ebx; mov $0x10000710, %ecx; mov $5, %edx; int $0x80\n"
        "mov $1, %eax; xor %ebx, %ebx; int $0x80\n"
        "code_end: .code64\n"
        ".popsection");
extern const char code[], code_end[];

int main(void) {
    static char image[4096];
    const char *gate = getenv("GATE"), *ready = getenv("READY");
    Elf32_Ehdr *header = (void *)image;
    Elf32_Phdr *segment = (void *)(image + sizeof *header);
    memcpy(header->e_ident, ELFMAG "\1\1\1", 7);
    *header = (Elf32_Ehdr){.e_type = ET_EXEC, .e_machine = EM_386, .e_version = 1, .e_entry = 0x10000100,
                           .e_phoff = sizeof *header, .e_ehsize = sizeof *header, .e_phentsize = sizeof *segment,
                           .e_phnum = 1};
    memcpy(header->e_ident, ELFMAG "\1\1\1", 7);
    *segment = (Elf32_Phdr){.p_type = PT_LOAD, .p_vaddr = 0x10000000, .p_filesz = sizeof image,
                            .p_memsz = sizeof image, .p_flags = PF_R | PF_X, .p_align = 4096};
    memcpy(image + 0x100, code, code_end - code);
    *(uint32_t *)(image + 0x704) = 2000000;
    memcpy(image + 0x710, "well\n", 5);
    snprintf(image + 0x800, 0x100, "%s", gate ? gate : "/");
    snprintf(image + 0x900, 0x100, "%s", ready ? ready : "/dev/null");
    int file = open("small", O_WRONLY | O_CREAT | O_EXCL, 0700);
    CHECK(file >= 0 && write(file, image, sizeof image) == sizeof image && close(file) == 0);
    execl("./small", "small", NULL);
    CHECK(false);
}
