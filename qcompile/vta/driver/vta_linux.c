/* VTA under Linux, for NETWORK. See the header.

   cc -c vta/driver/NETWORK_vta_linux.c -Iinclude -Ivta/driver */

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64 /* registers may lie beyond 2 GiB */
#include "NETWORK_vta_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define IMAGE_ADDRESS 0x1000u /* of byte 0 of an image, as its instructions know it */
#define BYTES_PER_INSTRUCTION 16u
#define REGISTER_BYTES 0x4000u

/* Offsets of registers, in bytes: one block for each module of the HLS design. */
enum {
    FETCH = 0x0000, LOAD = 0x1000, COMPUTE = 0x2000, STORE = 0x3000,
    CONTROL = 0x00, START = 0x01, AUTO_RESTART = 0x81,
    FETCH_COUNT = FETCH + 0x10, FETCH_ADDRESS = FETCH + 0x18,
    LOAD_INP = LOAD + 0x10, LOAD_WGT = LOAD + 0x18,
    COMPUTE_DONE_WRITE = COMPUTE + 0x10, COMPUTE_DONE = COMPUTE + 0x18,
    COMPUTE_UOP = COMPUTE + 0x20, COMPUTE_ACC = COMPUTE + 0x28, STORE_OUT = STORE + 0x10,
};

/* The same of the RTL design. */
enum {
    RTL_CONTROL = 0x00, RTL_LAUNCH = 1, RTL_FINISHED = 2, RTL_COUNT = 0x08, RTL_ADDRESS = 0x0c,
    RTL_FIRST_BASE = 0x10, RTL_LAST_BASE = 0x20,
};

static struct {
    pthread_mutex_t busy;
    struct NETWORK_vta_linux options;
    volatile uint32_t *registers;
    size_t registers_mapped;
    unsigned char *memory;
    uint64_t bases[NETWORK_VTA_SEGMENTS]; /* of each segment's image, from the memory's start */
} device = {.busy = PTHREAD_MUTEX_INITIALIZER};

static uint64_t whole_pages(uint64_t bytes) { return (bytes + PAGE - 1) / PAGE * PAGE; }

static uint64_t instruction_bytes(const struct NETWORK_vta_segment *segment) {
    return (uint64_t)segment->instruction_count * BYTES_PER_INSTRUCTION;
}

uint64_t NETWORK_vta_memory_bytes(void) {
    uint64_t bytes = 0;
    for (int32_t k = 0; k < NETWORK_VTA_SEGMENTS; ++k) {
        const struct NETWORK_vta_segment *segment = &NETWORK_vta_segments[k];
        bytes += whole_pages(segment->image_bytes) + whole_pages(instruction_bytes(segment));
    }
    return bytes;
}

struct NETWORK_vta_linux NETWORK_vta_defaults(void) {
    const struct NETWORK_vta_linux usual = {
        .design = NETWORK_VTA_DESIGN,
        .registers = "/dev/mem",
        .registers_offset = NETWORK_VTA_REGISTERS,
        .memory = "/dev/udmabuf0",
        .window = NETWORK_VTA_WINDOW,
        .timeout_ms = 10000,
    };
    return usual;
}

/* Copies that touch device memory in whole words: memcpy may use instructions that it refuses. */
static void copy_in(volatile unsigned char *to, const unsigned char *from, uint64_t bytes) {
    uint64_t done = 0;
    for (; done + sizeof(uint32_t) <= bytes; done += sizeof(uint32_t)) {
        uint32_t word;
        memcpy(&word, from + done, sizeof word);
        *(volatile uint32_t *)(to + done) = word;
    }
    for (; done < bytes; ++done) {
        to[done] = from[done];
    }
}

static void copy_out(unsigned char *to, const volatile unsigned char *from, uint64_t bytes) {
    uint64_t done = 0;
    for (; done + sizeof(uint32_t) <= bytes; done += sizeof(uint32_t)) {
        const uint32_t word = *(const volatile uint32_t *)(from + done);
        memcpy(to + done, &word, sizeof word);
    }
    for (; done < bytes; ++done) {
        to[done] = from[done];
    }
}

/* A number that a u-dma-buf device tells in /sys; 0 when it does not. */
static uint64_t told(const char *memory, const char *attribute) {
    char path[256], text[64] = "";
    const char *slash = strrchr(memory, '/');
    snprintf(path, sizeof path, "/sys/class/u-dma-buf/%s/%s", slash ? slash + 1 : memory, attribute);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return 0;
    }
    const int found = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    return found ? strtoull(text, NULL, 0) : 0;
}

static void *map(const char *file, uint64_t offset, uint64_t bytes) {
    const int handle = open(file, O_RDWR | O_SYNC | O_CLOEXEC);
    if (handle < 0) {
        return NULL;
    }
    void *mapped = bytes > SIZE_MAX ? MAP_FAILED
        : mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, handle, (off_t)offset);
    const int error = errno;
    close(handle);
    errno = error;
    return mapped == MAP_FAILED ? NULL : mapped;
}

/* The memory's address as the accelerator sees it. */
static uint64_t seen(void) { return device.options.window + device.options.memory_address; }

/* Move the addresses of an instruction that transfers elements by `distance` bytes. */
static int32_t relocate(const struct NETWORK_vta_segment *segment, uint64_t distance,
                        uint64_t words[2]) {
    const uint32_t opcode = words[0] & 7, memory = (words[0] >> 7) & 7;
    const uint32_t columns = (words[1] >> 16) & 0xffff;
    if (opcode > 1 || columns == 0) { /* neither LOAD nor STORE, or one that carries tokens alone */
        return NETWORK_OK;
    }
    const uint32_t bytes = memory < 5 ? segment->element_bytes[memory] : 0;
    if (bytes == 0 || distance % bytes != 0) {
        return NETWORK_ERROR_VTA_ADDRESS;
    }
    const uint64_t field = (uint64_t)0xffffffff << 26;
    const uint64_t base = ((words[0] & field) >> 26) + distance / bytes;
    words[0] = (words[0] & ~field) | ((base & 0xffffffff) << 26);
    return NETWORK_OK;
}

/* Put a segment's image, and its instructions behind it, to `base` of the memory. */
static int32_t place(const struct NETWORK_vta_segment *segment, uint64_t base) {
    const uint64_t distance = seen() + base - IMAGE_ADDRESS;
    unsigned char *to = device.memory + base + whole_pages(segment->image_bytes);
    copy_in(device.memory + base, segment->image, segment->image_bytes);
    for (uint32_t k = 0; k < segment->instruction_count; ++k) {
        uint64_t words[2];
        memcpy(words, segment->instructions + k * BYTES_PER_INSTRUCTION, sizeof words);
        const int32_t status = relocate(segment, distance, words);
        if (status != NETWORK_OK) {
            return status;
        }
        copy_in(to + k * BYTES_PER_INSTRUCTION, (const unsigned char *)words, sizeof words);
    }
    return NETWORK_OK;
}

static void write_register(uint32_t offset, uint32_t value) {
    device.registers[offset / sizeof(uint32_t)] = value;
}

static uint32_t read_register(uint32_t offset) {
    return device.registers[offset / sizeof(uint32_t)];
}

static void launch(uint32_t address, uint32_t count) {
    if (device.options.design == NETWORK_VTA_RTL) {
        for (uint32_t base = RTL_FIRST_BASE; base <= RTL_LAST_BASE; base += 4) {
            write_register(base, 0);
        }
        write_register(RTL_COUNT, count);
        write_register(RTL_ADDRESS, address);
        write_register(RTL_CONTROL, RTL_LAUNCH);
        return;
    }
    static const uint32_t bases[] = {LOAD_INP, LOAD_WGT, COMPUTE_UOP, COMPUTE_ACC, STORE_OUT,
                                     COMPUTE_DONE_WRITE};
    for (size_t k = 0; k < sizeof bases / sizeof *bases; ++k) {
        write_register(bases[k], 0);
    }
    write_register(FETCH_COUNT, count);
    write_register(FETCH_ADDRESS, address);
    write_register(FETCH + CONTROL, START);
    write_register(LOAD + CONTROL, AUTO_RESTART);
    write_register(COMPUTE + CONTROL, AUTO_RESTART);
    write_register(STORE + CONTROL, AUTO_RESTART);
}

/* DONE tells of the run before until COMPUTE has taken an instruction: FETCH, whose start bit clears
   itself when it has handed out all of them, comes first. */
static int finished(void) {
    return device.options.design == NETWORK_VTA_RTL
        ? (read_register(RTL_CONTROL) & RTL_FINISHED) != 0
        : (read_register(FETCH + CONTROL) & START) == 0 && (read_register(COMPUTE_DONE) & 1) != 0;
}

static int64_t milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int32_t wait_until_finished(void) {
    const struct timespec response = {.tv_nsec = 1000};
    const int64_t end = milliseconds() + device.options.timeout_ms;
    nanosleep(&response, NULL); /* for COMPUTE to take an instruction */
    while (!finished()) {
        if (milliseconds() > end) {
            return NETWORK_ERROR_VTA_TIMEOUT;
        }
        sched_yield();
    }
    return NETWORK_OK;
}

static int32_t run_segment(const struct NETWORK_vta_segment *segment, uint64_t base,
                           const void *const *inputs, void *const *outputs) {
    unsigned char *image = device.memory + base;
    const uint64_t code = base + whole_pages(segment->image_bytes);
    for (int32_t k = 0; k < segment->input_count; ++k) {
        copy_in(image + (segment->inputs[k].address - IMAGE_ADDRESS), inputs[k],
                segment->inputs[k].bytes);
    }
    __sync_synchronize(); /* cached memory would be flushed here */
    launch((uint32_t)(seen() + code), segment->instruction_count);
    const int32_t status = wait_until_finished();
    __sync_synchronize(); /* and its cache lines invalidated here */
    for (int32_t k = 0; status == NETWORK_OK && k < segment->output_count; ++k) {
        copy_out(outputs[k], image + (segment->outputs[k].address - IMAGE_ADDRESS),
                 segment->outputs[k].bytes);
    }
    return status;
}

static int32_t run(void *context, int32_t number, const void *const *inputs,
                   void *const *outputs) {
    int32_t status = NETWORK_ERROR_VTA_MISSING;
    (void)context;
    pthread_mutex_lock(&device.busy);
    if (device.memory != NULL && number >= 0 && number < NETWORK_VTA_SEGMENTS) {
        status = run_segment(&NETWORK_vta_segments[number], device.bases[number], inputs, outputs);
    }
    pthread_mutex_unlock(&device.busy);
    return status;
}

static void close_device(void) {
    if (device.registers != NULL) {
        munmap((void *)(uintptr_t)device.registers, device.registers_mapped);
    }
    if (device.memory != NULL) {
        munmap(device.memory, (size_t)device.options.memory_bytes);
    }
    device.registers = NULL;
    device.memory = NULL;
}

/* The memory's address and size, where the options leave them to the system. */
static int32_t complete(struct NETWORK_vta_linux *options) {
    if (access(options->memory, F_OK) != 0) {
        return NETWORK_ERROR_VTA_MEMORY;
    }
    if (options->memory_address == 0) {
        options->memory_address = told(options->memory, "phys_addr");
    }
    if (options->memory_bytes == 0) {
        options->memory_bytes = told(options->memory, "size");
    }
    const uint64_t end = options->window + options->memory_address + options->memory_bytes;
    if (options->memory_address < IMAGE_ADDRESS || options->memory_address % PAGE != 0 ||
        end > (uint64_t)1 << 32) {
        return NETWORK_ERROR_VTA_ADDRESS;
    }
    return options->memory_bytes < NETWORK_vta_memory_bytes() ? NETWORK_ERROR_VTA_SPACE
                                                              : NETWORK_OK;
}

static int32_t open_device(void) {
    const struct NETWORK_vta_linux *options = &device.options;
    device.memory = map(options->memory, options->memory_offset, options->memory_bytes);
    if (device.memory == NULL) {
        return NETWORK_ERROR_VTA_MEMORY;
    }
    device.registers_mapped = options->design == NETWORK_VTA_RTL ? PAGE : REGISTER_BYTES;
    device.registers = map(options->registers, options->registers_offset, device.registers_mapped);
    if (device.registers == NULL) {
        return NETWORK_ERROR_VTA_REGISTERS;
    }
    uint64_t base = 0;
    int32_t status = NETWORK_OK;
    for (int32_t k = 0; status == NETWORK_OK && k < NETWORK_VTA_SEGMENTS; ++k) {
        const struct NETWORK_vta_segment *segment = &NETWORK_vta_segments[k];
        device.bases[k] = base;
        status = place(segment, base);
        base += whole_pages(segment->image_bytes) + whole_pages(instruction_bytes(segment));
    }
    return status;
}

int32_t NETWORK_vta_open(const struct NETWORK_vta_linux *options) {
    struct NETWORK_vta_linux wanted = options == NULL ? NETWORK_vta_defaults() : *options;
    errno = 0;
    int32_t status = complete(&wanted);
    if (status != NETWORK_OK) {
        return status;
    }
    pthread_mutex_lock(&device.busy);
    close_device();
    device.options = wanted;
    status = open_device();
    if (status != NETWORK_OK) {
        const int error = errno;
        close_device();
        errno = error;
    }
    pthread_mutex_unlock(&device.busy);
    if (status == NETWORK_OK) {
        NETWORK_set_vta(run, NULL);
    }
    return status;
}

void NETWORK_vta_close(void) {
    pthread_mutex_lock(&device.busy);
    close_device();
    pthread_mutex_unlock(&device.busy);
}
