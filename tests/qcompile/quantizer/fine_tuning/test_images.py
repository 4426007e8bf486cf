"""Images as fine-tuning varies them."""

import numpy as np

from qcompile.quantizer.fine_tuning.images import varied


def image(shape):
    return np.arange(np.prod(shape), dtype="float32").reshape(shape)


def moved(x, down, right):
    """x moved, by NumPy's own padding."""
    padded = np.pad(x, [(0, 0), (0, 0), (2, 2), (2, 2)], mode="edge")
    height, width = x.shape[2:]
    return padded[:, :, 2 + down : 2 + down + height, 2 + right : 2 + right + width]


def test_mirrors_and_moves():
    x = image((6, 2, 32, 40))
    found = varied({"x": x}, np.random.default_rng(0))["x"]
    choices = [(d, r) for d in range(-2, 3) for r in range(-2, 3)]
    kinds = set()
    for k in range(6):
        one = x[k : k + 1]
        fits = [
            (mirrored, choice)
            for mirrored, source in ((False, one), (True, one[..., ::-1]))
            for choice in choices
            if np.array_equal(found[k : k + 1], moved(source, *choice))
        ]
        assert len(fits) == 1
        kinds.add(fits[0])
    assert {mirrored for mirrored, _ in kinds} == {False, True}
    assert len({choice for _, choice in kinds}) == 1


def test_leaves_what_is_no_image():
    batch = {"flat": image((4, 10)), "codes": image((4, 1, 32, 32)).astype("int32")}
    found = varied(batch, np.random.default_rng(0))
    for name, array in batch.items():
        assert found[name] is array


def test_small_images_stay_in_place():
    x = image((8, 1, 8, 8))
    found = varied({"x": x}, np.random.default_rng(1))["x"]
    for one, source in zip(found, x, strict=True):
        assert np.array_equal(one, source) or np.array_equal(one, source[..., ::-1])
