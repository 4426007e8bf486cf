"""Train a quantized network to do as the float one does, without labels, in NumPy."""

from qcompile.quantizer.fine_tuning.training import FineTuning, fine_tune

__all__ = ["FineTuning", "fine_tune"]
