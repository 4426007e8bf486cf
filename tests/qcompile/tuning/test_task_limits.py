"""The arithmetic limits of devices and of models."""

import pytest

from qcompile.errors import DeviceLost
from qcompile.schedules.tunables import TUNABLES
from qcompile.targets import load_target
from qcompile.tuning.building import Builders
from qcompile.tuning.limits import kind_of, measured_limits, modelled_limits
from qcompile.tuning.measuring import Measurer
from tests.qcompile.tuning.tuning_candidates import local_target

PLAUSIBLE = (1e9, 1e14)  # products a second of one core


def test_every_kind_of_kernel_has_its_limit_or_none():
    kinds = {operator: kind_of(operator) for operator in TUNABLES}
    assert kinds["conv2d_int8"] == kinds["dense_packed"] == "int8"
    assert kinds["dense_bits"] == "bits" and kinds["dense_f32"] == "float32"
    assert all(kind is None for operator, kind in kinds.items() if "pool" in operator)


def test_measures_the_kinds_that_are_asked_for():
    target = local_target()
    with Measurer(["local"], target) as measurer, Builders(target, 1) as builders:
        found = measured_limits(list(TUNABLES), target, builders, measurer)
        none = measured_limits(["pool2d_int8"], target, builders, measurer)
    assert set(found) == {"int8", "bits", "float32"} and none == {}
    assert all(PLAUSIBLE[0] < rate < PLAUSIBLE[1] for rate in found.values())
    assert found["bits"] > found["int8"] > found["float32"]


def test_a_device_that_is_lost_is_said(monkeypatch):
    target = local_target()
    with Measurer(["local"], target) as measurer, Builders(target, 1) as builders:

        def lost(batch):
            raise DeviceLost("gone")

        monkeypatch.setattr(measurer, "submit", lost)
        with pytest.raises(DeviceLost, match="gone"):
            measured_limits(["conv2d_int8"], target, builders, measurer)


def test_models_know_theirs():
    # Two cycles for smull and smlal2 of 16 products, and sadalp beside them: Arm's A72 guide.
    found = modelled_limits(load_target("rpi4"))
    assert 4 < found["int8"] / 1.5e9 <= 8 and found["bits"] > 4 * found["int8"]
    assert modelled_limits(load_target("armv7-a9")) == {}
