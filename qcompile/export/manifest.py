"""What a bundle tells about itself."""

import hashlib
import json
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import tvm

from qcompile.export.plan import Plan
from qcompile.export.ports import Ports
from qcompile.targets import Target

FORMAT = 1
PACKAGES = ("qcompile", "apache-tvm", "apache-tvm-ffi", "ziglang")


def make_manifest(
    mod: tvm.IRModule, name: str, target: Target, ports: Ports, plan: Plan
) -> dict[str, Any]:
    """The manifest of a compiled module, but for the checksums of its files."""
    return {
        "format": FORMAT,
        "name": name,
        "target": target.name,
        "features": list(target.features),
        "inputs": [port.fields() for port in ports.inputs],
        "outputs": [port.fields() for port in ports.outputs],
        "workspace_bytes": plan.workspace_bytes,
        "weight_bytes": plan.weight_bytes,
        "threads": 1,
        "layers": _attribute(mod, "qcompile.layers"),
        "float_ops": _attribute(mod, "qcompile.float_ops"),
        "arena": {"bytes": plan.arena.bytes, "lower_bound": plan.arena.lower_bound},
        "versions": {package: metadata.version(package) for package in PACKAGES},
    }


def checksums(folder: Path, files: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of each file, by its path in the bundle."""
    return {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in files}


def _attribute(mod: tvm.IRModule, name: str) -> Any:
    attributes = mod.attrs or {}
    return json.loads(str(attributes[name])) if name in attributes else []
