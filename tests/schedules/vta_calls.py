"""What the calls of VTA's tensor intrinsics do, in C, from the instruction set's formulas; and how
often GEMM adds. The library is loaded so that code which TVM compiles finds its functions."""

import ctypes
import functools
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = """
#include <stdint.h>

int64_t vta_gemm_uops = 0;

#define EACH for (int y = 0; y < outer; ++y) for (int x = 0; x < inner; ++x)
#define ELEMENT (batch * block)

int32_t vta_gemm_reset(int32_t *dst, int32_t outer, int32_t inner, int32_t dst_out, int32_t dst_in,
                       int32_t batch, int32_t block) {
    EACH for (int e = 0; e < ELEMENT; ++e) dst[(y * dst_out + x * dst_in) * ELEMENT + e] = 0;
    return 0;
}

int32_t vta_gemm(int32_t *dst, const int8_t *src, const int8_t *wgt, int32_t outer, int32_t inner,
                 int32_t dst_out, int32_t dst_in, int32_t src_out, int32_t src_in, int32_t batch,
                 int32_t block) {
    EACH {
        int32_t *d = dst + (y * dst_out + x * dst_in) * ELEMENT;
        const int8_t *s = src + (y * src_out + x * src_in) * ELEMENT;
        for (int b = 0; b < batch; ++b)
            for (int o = 0; o < block; ++o)
                for (int i = 0; i < block; ++i)
                    d[b * block + o] += (int32_t)s[b * block + i] * wgt[o * block + i];
        ++vta_gemm_uops;
    }
    return 0;
}

static int32_t apply(int32_t op, int32_t a, int32_t c) {
    switch (op) {
    case 0: return a < c ? a : c;
    case 1: return a > c ? a : c;
    case 2: return (int32_t)((uint32_t)a + (uint32_t)c);
    default: return a >> c;
    }
}

int32_t vta_alu(int32_t op, int32_t *dst, const int32_t *a, int32_t outer, int32_t inner,
                int32_t dst_out, int32_t dst_in, int32_t a_out, int32_t a_in, int32_t immediate,
                int32_t batch, int32_t block) {
    EACH for (int e = 0; e < ELEMENT; ++e)
        dst[(y * dst_out + x * dst_in) * ELEMENT + e] =
            apply(op, a[(y * a_out + x * a_in) * ELEMENT + e], immediate);
    return 0;
}

int32_t vta_alu_tensor(int32_t op, int32_t *dst, const int32_t *a, const int32_t *src,
                       int32_t outer, int32_t inner, int32_t dst_out, int32_t dst_in, int32_t a_out,
                       int32_t a_in, int32_t src_out, int32_t src_in, int32_t batch,
                       int32_t block) {
    EACH for (int e = 0; e < ELEMENT; ++e)
        dst[(y * dst_out + x * dst_in) * ELEMENT + e] =
            apply(op, a[(y * a_out + x * a_in) * ELEMENT + e],
                  src[(y * src_out + x * src_in) * ELEMENT + e]);
    return 0;
}
"""


@functools.cache
def library() -> ctypes.CDLL:
    """The functions, visible to all code of this process."""
    with tempfile.TemporaryDirectory() as folder:
        source, path = Path(folder, "vta.c"), Path(folder, "libvta_calls.so")
        source.write_text(SOURCE)
        compiler = [sys.executable, "-m", "ziglang", "cc", "-O2", "-shared", "-fPIC"]
        subprocess.run([*compiler, str(source), "-o", str(path)], check=True)
        return ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def gemm_uops() -> ctypes.c_int64:
    """The count, which may be set."""
    return ctypes.c_int64.in_dll(library(), "vta_gemm_uops")
