"""A compiler for quantized neural networks: ONNX in, standalone edge libraries out.

Everything here is loaded on first use: `import qcompile` alone is quick and does not load TVM.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qcompile.bundle import load as load
    from qcompile.commands.bench import bench as bench
    from qcompile.commands.check import check as check
    from qcompile.commands.compile import compile as compile
    from qcompile.commands.demo import demo as demo
    from qcompile.commands.quantize import quantize as quantize
    from qcompile.commands.run import run as run
    from qcompile.commands.search import search_accelerator as search_accelerator
    from qcompile.commands.search import search_bits as search_bits
    from qcompile.commands.tune import tune as tune
    from qcompile.devices import list_devices as list_devices
    from qcompile.devices import open_device as open_device
    from qcompile.targets import Target as Target
    from qcompile.targets import host_target as host_target
    from qcompile.targets import list_targets as list_targets
    from qcompile.targets import load_target as load_target

__version__ = "0.1.0"

_PLACES = {
    "bench": "qcompile.commands.bench",
    "check": "qcompile.commands.check",
    "compile": "qcompile.commands.compile",
    "demo": "qcompile.commands.demo",
    "host_target": "qcompile.targets",
    "list_devices": "qcompile.devices",
    "list_targets": "qcompile.targets",
    "load": "qcompile.bundle",
    "load_target": "qcompile.targets",
    "open_device": "qcompile.devices",
    "quantize": "qcompile.commands.quantize",
    "run": "qcompile.commands.run",
    "search_accelerator": "qcompile.commands.search",
    "search_bits": "qcompile.commands.search",
    "Target": "qcompile.targets",
    "tune": "qcompile.commands.tune",
}

__all__ = [
    "Target",
    "__version__",
    "bench",
    "check",
    "compile",
    "demo",
    "host_target",
    "list_devices",
    "list_targets",
    "load",
    "load_target",
    "open_device",
    "quantize",
    "run",
    "search_accelerator",
    "search_bits",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'qcompile' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
