"""The functional simulator: reference images, and a plain interpreter on random programs."""

import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vta_conv import RESNET18
from vta_generator import Generator, small
from vta_interpreter import Interpreter
from vta_shared import REASON, WITH_IMAGES, images, program

from qcompile.targets.vta.functional import run

CONFIGURATIONS = [
    small(),
    small(block=3, batch=1, inp=2, wgt=2),
    small(block=3, inp=1, wgt=1, acc=4),
    small(block=3, inp=0, wgt=0),
    small(block=2, inp=3, wgt=1, acc=5),
    small(block=2, batch=1, inp=4, wgt=4),
]


@pytest.mark.shared
@pytest.mark.skipif(not WITH_IMAGES, reason=REASON)
def test_gives_the_reference_images():
    for name in WITH_IMAGES:
        image, expected = images(name)
        run(*program(name), image)
        np.testing.assert_array_equal(image, expected, err_msg=name)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CONFIGURATIONS), st.integers(0, 2**32))
def test_equals_a_plain_interpreter(config, seed):
    instructions, image = Generator(config, seed).program()
    expected = image.copy()
    Interpreter(config, expected).run(instructions, random.Random(seed).choice)

    run(config, instructions, image)

    np.testing.assert_array_equal(image, expected)


def test_resnet18_takes_less_than_ten_seconds():
    """Its convolutions but the first, races searched, on one core; all sums exact."""
    seconds = 0.0
    for conv, times in RESNET18:
        instructions, (image, data, weights) = conv.program(), conv.image()
        start = time.process_time()
        run(conv.config, instructions, image)
        seconds += times * (time.process_time() - start)
        np.testing.assert_array_equal(conv.result(image), conv.expected(data, weights))
    assert seconds < 10
