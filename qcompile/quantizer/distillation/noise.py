"""Noise that calibration data start from."""

import numpy as np

from qcompile.quantizer.grid import Array

IMAGE_RANK = 4
SHARED = 0.8  # of the variance of an image's channels is common to them, as in photographs
MEANS = 0.25  # of the variance of photographs is that of their means
MOST_COLOURS = 4  # more channels are no colours


def noise(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Values of mean 0 and deviation 1, float32.

    Images (N, C, H, W) have amplitudes that fall with frequency, as those of photographs do (Field
    1987): white noise would let a network's first layer see edges above all.
    """
    values = rng.normal(size=shape)
    if len(shape) == IMAGE_RANK:
        if 1 < shape[1] <= MOST_COLOURS:
            common = rng.normal(size=(shape[0], 1, *shape[2:]))
            values = np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * values
        values = np.sqrt(1 - MEANS) * _unit(_pink(values))
        values += np.sqrt(MEANS) * rng.normal(size=(shape[0], 1, 1, 1))
    return _unit(values).astype("float32")


def _unit(values: Array) -> Array:
    return np.asarray((values - values.mean()) / (values.std() or 1))


def _pink(values: Array) -> Array:
    height, width = values.shape[2:]
    squares = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width)[None] ** 2
    squares[0, 0] = np.inf
    spectrum = np.fft.rfft2(values) / np.sqrt(squares)
    return np.asarray(np.fft.irfft2(spectrum, s=(height, width)))
