/* What the processor can do. Compiled for any x86-64: never an instruction it may lack. */

#define RELAX "pause"

static int has(uint32_t leaf, uint32_t subleaf, int reg, uint32_t bits) {
    uint32_t found[4];
    uint32_t highest;
    uint32_t unused[3];
    __asm__ volatile("cpuid"
                     : "=a"(highest), "=b"(unused[0]), "=c"(unused[1]), "=d"(unused[2])
                     : "a"(leaf & 0x80000000u), "c"(0));
    if (highest < leaf) {
        return 0;
    }
    __asm__ volatile("cpuid"
                     : "=a"(found[0]), "=b"(found[1]), "=c"(found[2]), "=d"(found[3])
                     : "a"(leaf), "c"(subleaf));
    return (found[reg] & bits) == bits;
}

/* Whether the system saves these parts of a thread's registers. Asked after OSXSAVE only. */
static int saves(uint32_t state) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & state) == state;
}
