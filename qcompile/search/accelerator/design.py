"""A design: what of a board may be chosen, and the board that it makes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from qcompile.targets import VtaTarget
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.resources import Device, Resources, resources


@dataclass(frozen=True)
class Design:
    """An accelerator's configuration and port, and what its layers' scales become (scales.py)."""

    config: Config
    port_bytes: int
    scales: str

    @property
    def name(self) -> str:
        """Short, and told apart from every other design's of the board."""
        return f"{self.config.name} port {8 * self.port_bytes} {self.scales}"

    def on(self, board: VtaTarget) -> VtaTarget:
        """The board with this accelerator."""
        return replace(board, config=self.config, port_bytes=self.port_bytes)

    def to_json(self) -> dict[str, Any]:
        config = {
            key: value
            for key, value in self.config.to_json().items()
            if key not in ("TARGET", "HW_VER")
        }
        return {"name": self.name, **config, "PORT_BYTES": self.port_bytes, "SCALES": self.scales}


@dataclass(frozen=True)
class Area:
    """What a design takes of a part. shares: of each resource, 1 is all there is."""

    resources: Resources
    shares: Mapping[str, float]

    @property
    def share(self) -> float:
        """Of the resource of which it takes most."""
        return max(self.shares.values())

    def to_json(self) -> dict[str, Any]:
        found = self.resources
        needs = {"dsp": found.dsp, "lut": found.lut, "bram18": found.bram18}
        return {**needs, "shares": dict(self.shares), "share": self.share}


def area_of(design: Design, part: Device) -> Area:
    """What the design takes of the part, by the resource model."""
    found = resources(design.config, design.port_bytes, part)
    shares = {
        "dsp": found.dsp / part.dsp,
        "lut": found.lut / part.lut,
        "bram18": found.bram18 / part.bram18,
    }
    return Area(found, shares)
