/* Tells an emulator which step runs, by an unprivileged store to `marks` (model_device/plugin.c),
   which no compiler makes on its own. Follows a definition of MOST_STEPS. */

static unsigned char marks[MOST_STEPS + 1];
#if defined(__aarch64__)
#define MARK(step) __asm__ volatile("sttrb wzr, [%0]" : : "r"(marks + (step)) : "memory")
#elif defined(__arm__)
#define MARK(step) __asm__ volatile("strbt %0, [%1], #0" : : "r"(0), "r"(marks + (step)) : "memory")
#else
#define MARK(step) ((void)marks)
#endif
