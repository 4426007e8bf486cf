/* What the processor can do, as Linux tells it to every process. */

#include <sys/auxv.h>

#define RELAX "yield"

static int has(unsigned long word, unsigned long bits) { return (getauxval(word) & bits) == bits; }
