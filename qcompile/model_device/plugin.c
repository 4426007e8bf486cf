/* A plugin of qemu's user mode that counts what a program does.

   Counts how often each translated block runs and where each access to memory is found, apart for
   each step of a network. A program tells its step by an unprivileged store, which no compiler
   makes on its own:

       sttrb wzr, [x]     AArch64, x = marks + 1 + step, or marks at the end of the last step
       strbt r, [x], #0   ARM

   The first mark of a program is that of step 0. Counting starts with the mark of step 0 that
   follows `warmup` others, and ends at the end of each last step. With marks=off the whole program
   is counted, as step 0.

   Memory: caches of `line` bytes a line, with `sets` x `ways` lines each, exact LRU, all of them
   filled on a miss. An access is found at a level; one that continues a stream of lines, and every
   store, is counted apart: prefetchers and write buffers hide the latency of these.

   Writes lines of text to `out`:
       B <block> <address> <bytes of each instruction, hexadecimal> ...
       C <step> <block> <executions>
       P <step> <block> <instruction> <executions, or less than none, from that one on>
       M <step> <accesses> <level 1 missed, streamed> <level 1 missed, not streamed> <level 2 ..> */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

/* The part of qemu's interface that is used here, of version 1. */
typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { ADD_U64 = 0, NO_REGISTERS = 0, READS_AND_WRITES = 3 };
typedef void (*translated)(plugin_id, struct qemu_plugin_tb *);
typedef void (*accessed)(unsigned, uint32_t, uint64_t, void *);
typedef void (*ended)(plugin_id, void *);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, translated);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, accessed, int, int, void *);
void qemu_plugin_register_atexit_cb(plugin_id, ended, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
_Bool qemu_plugin_mem_is_store(uint32_t);

EXPORTED int qemu_plugin_version = 1;

#define MOST_LEVELS 3
#define STREAMS 16 /* that prefetchers are taken to follow at a time */

struct block {
    struct block *next;
    uint64_t number, executions;
};

struct cache {
    uint64_t sets, ways;
    uint64_t *lines; /* [set][way], the last used first; 0: empty */
};

static FILE *out;
static struct block *blocks;
static uint64_t block_count, run_count, warmup, line_bytes = 64;
static uint64_t marks; /* the address of the mark "no step" */
static uint64_t step;  /* 1 + the step that runs, 0 for none */
static int with_marks = 1;

static struct cache caches[MOST_LEVELS];
static int levels;
static uint64_t accesses, missed[MOST_LEVELS][2], last_line, streams[STREAMS];

static void write_counts(int counted) {
    for (struct block *block = blocks; block != NULL; block = block->next) {
        if (counted && block->executions != 0) {
            fprintf(out, "C %lu %lu %lu\n", (unsigned long)(step - 1),
                    (unsigned long)block->number, (unsigned long)block->executions);
        }
        block->executions = 0;
    }
    if (counted) {
        fprintf(out, "M %lu %lu", (unsigned long)(step - 1), (unsigned long)accesses);
        for (int level = 0; level < levels; ++level) {
            fprintf(out, " %lu %lu", (unsigned long)missed[level][1],
                    (unsigned long)missed[level][0]);
        }
        fputs("\n", out);
    }
    accesses = 0;
    memset(missed, 0, sizeof missed);
}

/* A mark as an instruction of a block, whose executions are counted at its begin. */
struct place {
    const struct block *block;
    unsigned long instruction;
};

static int counting(void) { return step != 0 && run_count > warmup; }

/* The instructions behind the mark are the next step's. */
static void move_rest(const struct place *place, int executions) {
    if (counting()) {
        fprintf(out, "P %lu %lu %lu %d\n", (unsigned long)(step - 1),
                (unsigned long)place->block->number, place->instruction + 1, executions);
    }
}

static void mark(unsigned cpu, uint32_t info, uint64_t address, void *data) {
    (void)cpu, (void)info;
    write_counts(counting());
    move_rest(data, -1);
    marks = marks == 0 ? address - 1 : marks;
    step = address - marks;
    run_count += step == 1;
    move_rest(data, 1);
}

/* Whether the cache has the line, which is in it afterwards. */
static int holds(struct cache *cache, uint64_t line) {
    uint64_t *set = cache->lines + line % cache->sets * cache->ways, way = 0;
    while (way < cache->ways - 1 && set[way] != line) {
        ++way;
    }
    const int found = set[way] == line;
    memmove(set + 1, set, way * sizeof *set);
    set[0] = line;
    return found;
}

/* Whether the line is the next one of a stream; it begins or continues one. */
static int streamed(uint64_t line) {
    int k = 0;
    while (k < STREAMS - 1 && streams[k] != line) {
        ++k;
    }
    const int found = streams[k] == line;
    memmove(streams + 1, streams, (size_t)k * sizeof *streams);
    streams[0] = line + 1;
    return found;
}

static void access_memory(unsigned cpu, uint32_t info, uint64_t address, void *data) {
    (void)cpu, (void)data;
    const uint64_t line = address / line_bytes + 1;
    ++accesses;
    if (line == last_line) {
        return;
    }
    last_line = line;
    int found = 0;
    while (found < levels && !holds(&caches[found], line)) {
        ++found;
    }
    if (found > 0) {
        /* A line found at level 2 or beyond was missed at all levels before it. */
        ++missed[found - 1][streamed(line) | qemu_plugin_mem_is_store(info)];
    }
}

static int is_mark(const struct qemu_plugin_insn *instruction) {
    uint32_t word;
    if (!with_marks || qemu_plugin_insn_size(instruction) != sizeof word) {
        return 0;
    }
    memcpy(&word, qemu_plugin_insn_data(instruction), sizeof word);
    return (word & 0xfffffc1f) == 0x3800081f || (word & 0xfff00fff) == 0xe4e00000;
}

static void *allocate(size_t bytes) {
    void *memory = calloc(1, bytes);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static void translate(plugin_id id, struct qemu_plugin_tb *translation) {
    (void)id;
    const size_t count = qemu_plugin_tb_n_insns(translation);
    struct block *block = allocate(sizeof *block);
    *block = (struct block){.next = blocks, .number = block_count++};
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_inline(translation, ADD_U64, &block->executions, 1);
    for (size_t k = 0; k < count; ++k) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(translation, k);
        if (k == 0) {
            fprintf(out, "B %lu %lx", (unsigned long)block->number,
                    (unsigned long)qemu_plugin_insn_vaddr(instruction));
        }
        const unsigned char *bytes = qemu_plugin_insn_data(instruction);
        fputc(' ', out);
        for (size_t byte = 0; byte < qemu_plugin_insn_size(instruction); ++byte) {
            fprintf(out, "%02x", bytes[byte]);
        }
        if (is_mark(instruction)) {
            struct place *place = allocate(sizeof *place);
            *place = (struct place){.block = block, .instruction = k};
            qemu_plugin_register_vcpu_mem_cb(instruction, mark, NO_REGISTERS, READS_AND_WRITES,
                                             place);
        } else if (levels > 0) {
            qemu_plugin_register_vcpu_mem_cb(instruction, access_memory, NO_REGISTERS,
                                             READS_AND_WRITES, NULL);
        }
    }
    fputs("\n", out);
}

static void end(plugin_id id, void *data) {
    (void)id, (void)data;
    write_counts(counting());
    fclose(out);
}

static int add_cache(const char *text) {
    char *rest;
    if (levels == MOST_LEVELS) {
        return 0;
    }
    struct cache *cache = &caches[levels++];
    cache->sets = strtoul(text, &rest, 10);
    cache->ways = *rest == 'x' ? strtoul(rest + 1, &rest, 10) : 0;
    cache->lines = calloc(cache->sets * cache->ways, sizeof *cache->lines);
    return cache->lines != NULL && cache->sets != 0 && cache->ways != 0 && *rest == '\0';
}

/* out=FILE, warmup=N, marks=off, line=BYTES, and cache=SETSxWAYS for each level, nearest first. */
static int take(const char *option) {
    const char *value = strchr(option, '=');
    if (value++ == NULL) {
        return 0;
    }
    if (strncmp(option, "out=", 4) == 0) {
        return (out = fopen(value, "w")) != NULL;
    } else if (strncmp(option, "warmup=", 7) == 0) {
        warmup = strtoul(value, NULL, 10);
    } else if (strncmp(option, "line=", 5) == 0) {
        line_bytes = strtoul(value, NULL, 10);
    } else if (strcmp(option, "marks=off") == 0) {
        with_marks = 0;
    } else {
        return strncmp(option, "cache=", 6) == 0 && add_cache(value);
    }
    return 1;
}

EXPORTED int qemu_plugin_install(plugin_id id, const void *info, int count, char **options) {
    (void)info;
    for (int k = 0; k < count; ++k) {
        if (!take(options[k])) {
            fprintf(stderr, "model plugin: option %s is not understood\n", options[k]);
            return 1;
        }
    }
    if (out == NULL || line_bytes == 0) {
        fputs("model plugin: out=FILE is missing\n", stderr);
        return 1;
    }
    if (!with_marks) {
        step = 1, run_count = 1, warmup = 0;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_atexit_cb(id, end, NULL);
    return 0;
}
