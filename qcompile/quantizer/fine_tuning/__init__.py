"""Train a quantized network to do as the float one does, without labels, in NumPy."""

from qcompile.quantizer.fine_tuning.training import expect_tunable, fine_tune

__all__ = ["expect_tunable", "fine_tune"]
