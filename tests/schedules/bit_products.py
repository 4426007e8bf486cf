"""Products of bit planes under test: operands, and kernels on them."""

import numpy as np

from qcompile.schedules.dense_bits import dense_bits, pack_weights
from tests.schedules.bits import packed_words
from tests.schedules.kernels import fused_function


def operands(width, shape, seed):
    """Codes and weights, all bits equal for the first seed, bias, scale."""
    rng = np.random.default_rng(seed)
    rows, depth, columns = shape
    codes, values = width.data(rng, (rows, depth)), width.weights(rng, (columns, depth))
    if seed == 0:
        codes[:] = 2**width.data_bits - 1
        values[:] = values.min()
    scale = rng.random(columns, "float32") * np.float32(1e-1)
    return codes, values, rng.integers(-(2**20), 2**20, columns, dtype="int32"), scale


def arrays_of(width, codes, values, plan):
    words = packed_words(width.data_planes(codes))
    return [words, pack_weights(width.weight_planes(values), plan)]


def kernel(plan, epilogue, extra):
    vector = (plan.columns,)
    sums = plan.planes.sum_type
    inputs = [(plan.input_shape, "uint32"), (plan.weight_shape, "uint32"), (vector, sums), *extra]
    return fused_function(inputs, lambda x, w, b: dense_bits(x, w, b, plan, "layer"), epilogue, 3)
