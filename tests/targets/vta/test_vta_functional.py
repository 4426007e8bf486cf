"""The functional simulator: reference images."""

import numpy as np
import pytest
from vta_shared import REASON, WITH_IMAGES, images, program

from qcompile.targets.vta.functional import run


@pytest.mark.shared
@pytest.mark.skipif(not WITH_IMAGES, reason=REASON)
def test_gives_the_reference_images():
    for name in WITH_IMAGES:
        image, expected = images(name)
        run(*program(name), image)
        np.testing.assert_array_equal(image, expected, err_msg=name)
