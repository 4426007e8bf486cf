"""Every layer of a compiled network beside onnxruntime's, each on the reference's own inputs."""

from qcompile.layerwise.compare import compare_layers
from qcompile.layerwise.tally import Difference, LayerAgreement, summary

__all__ = ["Difference", "LayerAgreement", "compare_layers", "summary"]
