"""What `bench --device sim` prints: cycles of a simulator, never times of a board."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qcompile.cli.tables import percent, print_table, printable

if TYPE_CHECKING:
    from qcompile.commands.sim_bench import SimBench
    from qcompile.vta.timing import LayerCycles, SegmentCycles

UNITS = ("load", "gemm", "alu", "compute_load", "store", "waiting")


def show_sim_bench(found: SimBench, per_layer: bool) -> None:
    """The cycles of the segments, and of each layer when asked for."""
    clock = f"{found.clock_hz / 1e6:g} MHz"
    print(f"{found.manifest.name} for {found.manifest.target}, on sim\n")
    print(
        f"cycle simulator of VTA, {found.config}, {found.port_bits}-bit port; "
        "not a measurement of any board\n"
        f"simulated: {found.cycles:,} cycles, {found.simulated_s * 1e3:.3f} ms at {clock}"
    )
    layers = ", ".join(map(printable, found.host_layers))
    rest = f" (the layers {layers}, and packing)" if layers else " (packing at both ends)"
    print(f"not included: the processor's part{rest}, copies and launches\n")
    columns = [">cycles", ">ms", ">GEMM busy", ">instructions"]
    rows = [_segment(found, segment) for segment in found.segments]
    print_table(["segment", *columns], rows)
    if per_layer:
        print()
        units = [f">{unit.replace('_', ' ')}" for unit in UNITS]
        columns = [">cycles", ">ms", *units, ">GEMM busy", ">of peak"]
        print_table(["layer", *columns], [_layer(found, layer) for layer in found.layers])
        print("\ncycles = gemm + alu + compute load (micro-ops, sums) + waiting;")
        print("load and store are the cycles of the modules beside them")


def sim_answer(found: SimBench) -> dict[str, Any]:
    """What `--json` writes."""
    return {
        "name": found.manifest.name,
        "target": found.manifest.target,
        "device": "sim",
        "measured": False,
        "config": found.config,
        "port_bits": found.port_bits,
        "clock_hz": found.clock_hz,
        "cycles": found.cycles,
        "simulated_ms": found.simulated_s * 1e3,
        "host_layers_not_included": found.host_layers,
        "segments": [
            {
                "name": segment.segment.name,
                "folder": segment.segment.folder,
                "cycles": segment.cycles,
                "instructions": segment.segment.instruction_count,
                "layers": [
                    {
                        "name": layer.name,
                        "cycles": layer.cycles,
                        **{unit: getattr(layer, unit) for unit in UNITS},
                        "gemm_utilisation": layer.utilisation,
                        "macs": found.macs(layer),
                        "simulated_ms": 1e3 * layer.cycles / found.clock_hz,
                    }
                    for layer in segment.layers
                ],
            }
            for segment in found.segments
        ],
    }


def _segment(found: SimBench, segment: SegmentCycles) -> tuple[str, ...]:
    busy = sum(layer.gemm for layer in segment.layers) / segment.cycles
    return (
        segment.segment.folder,
        f"{segment.cycles:,}",
        f"{1e3 * segment.cycles / found.clock_hz:.3f}",
        percent(busy),
        f"{segment.segment.instruction_count:,}",
    )


def _layer(found: SimBench, layer: LayerCycles) -> tuple[str, ...]:
    macs = found.macs(layer)
    return (
        layer.name,
        f"{layer.cycles:,}",
        f"{1e3 * layer.cycles / found.clock_hz:.3f}",
        *(f"{getattr(layer, unit):,}" for unit in UNITS),
        percent(layer.utilisation),
        percent(macs / layer.cycles / found.peak_macs) if macs else "-",
    )
