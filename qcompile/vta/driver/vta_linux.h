/* NETWORK on a board with VTA, under Linux: maps the accelerator's registers and memory that is
   physically contiguous, puts all segments there, and gives NETWORK_run what launches them.

   The board needs
   - VTA in the FPGA, of the configuration in vta/NN_name/vta_config.json;
   - contiguous memory below 4 GiB, NETWORK_vta_memory_bytes() of it or more: the kernel module
     u-dma-buf makes a device of such memory (of CMA, say), and tells its address in /sys;
   - the right to open both (root, or rules of udev).

   Caches: memory is mapped with O_SYNC, which makes it uncached on ARM under /dev/mem and with
   u-dma-buf's default sync_mode; inputs and outputs are small, and nothing has to be flushed.
   Where the device is coherent (an ACP or HPC port) or memory is cached otherwise, flush before a
   launch and invalidate after it, at the two places that say so in NETWORK_vta_linux.c. */

#ifndef NETWORK_VTA_LINUX_H
#define NETWORK_VTA_LINUX_H

#include <stdint.h>

#include "NETWORK.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The board that the bundle was compiled for. */
#define NETWORK_VTA_DESIGN BOARD_DESIGN
#define NETWORK_VTA_REGISTERS BOARD_REGISTERS
#define NETWORK_VTA_WINDOW BOARD_WINDOW

/* What the registers mean: one block for each module (boards of Xilinx), or one for all. */
enum { NETWORK_VTA_HLS = 0, NETWORK_VTA_RTL = 1 };

struct NETWORK_vta_linux {
    int32_t design;            /* NETWORK_VTA_HLS or NETWORK_VTA_RTL */
    const char *registers;     /* "/dev/mem", or the UIO device of the accelerator */
    uint64_t registers_offset; /* in that file: the physical address in /dev/mem, 0 with UIO */
    const char *memory;        /* "/dev/udmabuf0", or "/dev/mem" */
    uint64_t memory_offset;    /* in that file: 0 with u-dma-buf, the address in /dev/mem */
    uint64_t memory_address;   /* physical; 0: as /sys tells of the u-dma-buf device */
    uint64_t memory_bytes;     /* 0: as /sys tells of the u-dma-buf device */
    uint64_t window;           /* where the accelerator sees the physical address 0 */
    int32_t timeout_ms;        /* of one segment */
};

/* What is usual on the board that the bundle was compiled for. */
struct NETWORK_vta_linux NETWORK_vta_defaults(void);

/* Bytes of contiguous memory that the segments need together. */
uint64_t NETWORK_vta_memory_bytes(void);

/* Open the accelerator (NULL: with the defaults) and give it to NETWORK_run. One process uses it at
   a time; threads of it take turns. Returns NETWORK_OK, or why not; errno tells more where a file
   could not be opened. */
int32_t NETWORK_vta_open(const struct NETWORK_vta_linux *options);

/* Let the accelerator go. */
void NETWORK_vta_close(void);

#ifdef __cplusplus
}
#endif

#endif
