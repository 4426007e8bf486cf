"""The networks of a bundle, as its C code and its papers know them."""

from collections.abc import Sequence
from dataclasses import dataclass

from qcompile.errors import InvalidInput
from qcompile.export.c_names import identifier
from qcompile.export.plan import Plan
from qcompile.export.ports import Ports

DEFAULT = "default"  # the network that NAME_run runs


@dataclass(frozen=True)
class Network:
    """A network of a bundle. Its C names begin with `prefix`: NAME, or NAME_VARIANT."""

    variant: str
    prefix: str
    ports: Ports
    plan: Plan
    weight_bytes_alone: int

    @property
    def entry(self) -> str:
        return f"{self.prefix}_run"


def expect_variant_name(name: str) -> None:
    """Raise InvalidInput when no variant can be called so in C."""
    if name == DEFAULT:
        raise InvalidInput(f"variant {name!r}: is what the model itself is called; choose another")
    if identifier(name) != name:
        raise InvalidInput(
            f"variant {name!r}: is no C identifier of letters, digits and single underscores; "
            f"{identifier(name)!r} would work"
        )


def expect_distinct_names(networks: Sequence[Network]) -> None:
    """Raise InvalidInput when arrays of two networks have one C name."""
    owners: dict[str, str] = {}
    for network in networks:
        for port in (*network.ports.inputs, *network.ports.outputs):
            name = f"{network.prefix}_{port.c_name}"
            other = owners.setdefault(name, network.variant)
            if other != network.variant:
                raise InvalidInput(
                    f"variant {network.variant!r}: its {port.name!r} is {name} in C, as an array "
                    f"of the variant {other!r}; choose another name for the variant"
                )
