"""The inputs and outputs of a network, as a manifest and a C header describe them."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tvm

from qcompile.errors import Unsupported
from qcompile.export.c_names import C_TYPES, identifiers
from qcompile.export.program import Program, TensorType


@dataclass(frozen=True)
class Port:
    """An input or output. `quantization` holds scale, zero_point and bits of integer codes."""

    name: str
    c_name: str
    type: TensorType
    quantization: Mapping[str, Any]

    @property
    def c_type(self) -> str:
        return C_TYPES[self.type.dtype]

    @property
    def length(self) -> int:
        """The number of elements."""
        return math.prod(self.type.shape)

    def fields(self) -> dict[str, Any]:
        """The port as a manifest tells it."""
        shape = list(self.type.shape)
        return {"name": self.name, "dtype": self.type.dtype, "shape": shape, **self.quantization}


@dataclass(frozen=True)
class Ports:
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def read_ports(mod: tvm.IRModule, program: Program, name: str) -> Ports:
    """Names and quantization from the attribute `qcompile.io`, types from the program itself.

    Without the attribute, inputs are named as in `main` and outputs `output_0`, `output_1`, ...
    """
    attributes = mod.attrs or {}
    if "qcompile.io" in attributes:
        told = json.loads(str(attributes["qcompile.io"]))
    else:
        outputs = [f"output_{k}" for k in range(len(program.outputs))]
        told = {
            "inputs": [{"name": name} for name in program.input_names],
            "outputs": [{"name": name} for name in outputs],
        }
    specs = [*told["inputs"], *told["outputs"]]
    types = [*program.inputs, *(type_ for _, type_ in program.outputs)]
    names = identifiers([spec["name"] for spec in specs], f"{name}_")
    ports = [_port(*port) for port in zip(specs, names, types, strict=True)]
    count = len(program.inputs)
    return Ports(tuple(ports[:count]), tuple(ports[count:]))


def _port(spec: Mapping[str, Any], c_name: str, type_: TensorType) -> Port:
    assert spec.get("dtype", type_.dtype) == type_.dtype, f"{spec} is {type_.dtype} in main"
    assert tuple(spec.get("shape", type_.shape)) == type_.shape, f"{spec} is {type_.shape} in main"
    if type_.dtype not in C_TYPES:
        raise Unsupported(f"{spec['name']!r}: {type_.dtype} has no type in C")
    quantization = {k: spec[k] for k in ("scale", "zero_point", "bits") if spec.get(k) is not None}
    return Port(spec["name"], c_name, type_, quantization)
