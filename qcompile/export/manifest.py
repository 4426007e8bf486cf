"""What a bundle tells about itself."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import tvm

from qcompile.export.network import Network
from qcompile.targets import Target

FORMAT = 1
PACKAGES = ("qcompile", "apache-tvm", "apache-tvm-ffi", "ziglang")


def make_manifest(
    modules: Sequence[tvm.IRModule],
    networks: Sequence[Network],
    name: str,
    target: Target,
    weight_bytes: int,
    threads: int,
) -> dict[str, Any]:
    """The manifest of compiled modules, but for the checksums of its files.

    It tells of the first network as of a bundle without variants, and in `variants` of all of them
    when there are several.
    """
    first = _facts(modules[0], networks[0])
    manifest = {
        "format": FORMAT,
        "name": name,
        "target": target.name,
        "architecture": target.architecture.name,
        "mcpu": target.llvm["mcpu"],
        "features": list(target.features),
        "inputs": first["inputs"],
        "outputs": first["outputs"],
        "workspace_bytes": max(network.plan.workspace_bytes for network in networks),
        "weight_bytes": weight_bytes,
        "threads": threads,
        "layers": first["layers"],
        "float_ops": first["float_ops"],
        "arena": first["arena"],
        "versions": {package: metadata.version(package) for package in PACKAGES},
    }
    if len(networks) > 1:
        manifest["variants"] = [
            {
                "name": network.variant,
                "entry": network.entry,
                **_facts(mod, network),
                "weight_bytes_alone": network.weight_bytes_alone,
            }
            for mod, network in zip(modules, networks, strict=True)
        ]
    return manifest


def _facts(mod: tvm.IRModule, network: Network) -> dict[str, Any]:
    """What a manifest tells of one network."""
    plan, ports = network.plan, network.ports
    return {
        "inputs": [port.fields() for port in ports.inputs],
        "outputs": [port.fields() for port in ports.outputs],
        "workspace_bytes": plan.workspace_bytes,
        "layers": _attribute(mod, "qcompile.layers"),
        "float_ops": _attribute(mod, "qcompile.float_ops"),
        "arena": {"bytes": plan.arena.bytes, "lower_bound": plan.arena.lower_bound},
    }


def checksums(folder: Path, files: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of each file, by its path in the bundle."""
    return {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in files}


def _attribute(mod: tvm.IRModule, name: str) -> Any:
    attributes = mod.attrs or {}
    return json.loads(str(attributes[name])) if name in attributes else []
