"""Simulate the cycles of a bundle's segments on VTA: no measurement, no board."""

from dataclasses import dataclass
from pathlib import Path

from qcompile.bundle import read_manifest as read_whole
from qcompile.commands.manifest import Manifest, read_manifest
from qcompile.commands.simulation import expect_place
from qcompile.devices import SIM
from qcompile.errors import BundleError
from qcompile.vta.folders import read_segments
from qcompile.vta.timing import LayerCycles, SegmentCycles, time_segment


@dataclass(frozen=True)
class SimBench:
    """One inference in the cycle simulator. The host part of the network is not in it.

    host_layers: the layers that the board's processor computes.
    """

    manifest: Manifest
    config: str
    port_bits: int
    clock_hz: float
    peak_macs: int  # multiply-adds of a cycle of the GEMM core
    segments: list[SegmentCycles]
    host_layers: list[str]

    @property
    def cycles(self) -> int:
        return sum(segment.cycles for segment in self.segments)

    @property
    def layers(self) -> list[LayerCycles]:
        return [layer for segment in self.segments for layer in segment.layers]

    @property
    def simulated_s(self) -> float:
        """The simulated cycles at the board's clock: no time that any board took."""
        return self.cycles / self.clock_hz

    def macs(self, layer: LayerCycles) -> int:
        """The layer's multiply-adds in the network; 0 where it has none."""
        layers = [each for each in self.manifest.layers if each["name"] in layer.products]
        return sum(int(each["macs"]) for each in layers)


def sim_bench(bundle: str | Path, variant: str | None = None) -> SimBench:
    """The simulated cycles of one inference of the bundle, the same every time.

    Raises DeviceError when the bundle is not for VTA, BundleError when it is damaged.
    """
    manifest = read_manifest(bundle, variant)
    expect_place(manifest, SIM)
    try:
        segments = read_segments(manifest.folder, read_whole(manifest.folder))
    except (KeyError, TypeError) as error:
        told = f"{type(error).__name__}: {error}"
        raise BundleError(f"{manifest.folder}: manifest.json is damaged: {told}") from error
    config = segments[0].config
    names = set().union(*(segment.products() for segment in segments))
    return SimBench(
        manifest=manifest,
        config=config.name,
        port_bits=8 * segments[0].port_bytes,
        clock_hz=segments[0].clock_hz,
        peak_macs=config.batch * config.block_in * config.block_out,
        segments=[time_segment(segment) for segment in segments],
        host_layers=[str(x["name"]) for x in manifest.layers if x["name"] not in names],
    )
