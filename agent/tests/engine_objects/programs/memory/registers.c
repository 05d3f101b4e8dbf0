/* Values held in x87, SSE and AVX registers, MXCSR and the x87 control word while computing. */
#include "program.h"
#include <immintrin.h>

__attribute__((target("avx"))) static void hold_avx(void) {
    uint64_t in[4] = {0x1111222233334444, 0x5555666677778888, 0x9999aaaabbbbcccc, 0xddddeeeeffff0001};
    uint64_t out[4] = {0};
    __asm__ volatile("vmovdqu %1, %%ymm15\n mov $20000000, %%rcx\n 1: dec %%rcx\n jnz 1b\n"
                     "vmovdqu %%ymm15, %0\n vzeroupper"
                     : "=m"(out)
                     : "m"(in)
                     : "rcx", "xmm15");
    CHECK(memcmp(in, out, sizeof in) == 0);
}

static void hold_sse_and_general(void) {
    uint64_t in[2] = {0x0123456789abcdef, 0xfedcba9876543210}, out[2] = {0}, r[4] = {0};
    __asm__ volatile("movdqu %2, %%xmm7\n mov $0x1234567812345678, %%r12\n mov $77, %%r13\n"
                     "mov $-5, %%r14\n mov $0xdeadbeef, %%r15\n"
                     "mov $20000000, %%rcx\n 1: dec %%rcx\n jnz 1b\n"
                     "movdqu %%xmm7, %0\n mov %%r12, %1\n mov %%r13, 8+%1\n mov %%r14, 16+%1\n"
                     "mov %%r15, 24+%1"
                     : "=m"(out), "=o"(r)
                     : "m"(in)
                     : "rcx", "r12", "r13", "r14", "r15", "xmm7");
    CHECK(memcmp(in, out, sizeof in) == 0);
    CHECK(r[0] == 0x1234567812345678 && r[1] == 77 && r[2] == (uint64_t)-5 && r[3] == 0xdeadbeef);
}

static void hold_x87(void) {
    /* one third, and rounding down in extended precision */
    static const unsigned char in[10] = {0xab, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xfd, 0x3f};
    static const uint16_t control = 0x077f;
    unsigned char out[10] = {0};
    uint16_t seen = 0;
    __asm__ volatile("fldcw %2\n fldt %3\n mov $20000000, %%rcx\n 1: dec %%rcx\n jnz 1b\n"
                     "fstpt %0\n fnstcw %1\n fninit"
                     : "=m"(out), "=m"(seen)
                     : "m"(control), "m"(in)
                     : "rcx", "st");
    CHECK(memcmp(in, out, sizeof in) == 0 && seen == control);
}

int main(void) {
    unsigned mxcsr = _mm_getcsr();
    _mm_setcsr(mxcsr | 0x6000); /* rounding towards zero */
    do {
        hold_sse_and_general();
        hold_x87();
        if (__builtin_cpu_supports("avx"))
            hold_avx();
        CHECK((_mm_getcsr() & 0x6000) == 0x6000);
    } while (!gate_is_open());
    puts("registers kept");
    return 0;
}
