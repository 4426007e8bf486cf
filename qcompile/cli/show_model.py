"""What `bench --device model:TARGET` prints: cycles of a model, never times of a board."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qcompile.cli.tables import percent, print_table

if TYPE_CHECKING:
    from qcompile.commands.model_bench import ModelBench, ModelledLayer


def show_model_bench(found: ModelBench, per_layer: bool) -> None:
    """The cycles, and those of each layer when asked for."""
    variant = "" if found.manifest.variant is None else f", {found.manifest.variant}"
    print(f"{found.manifest.name}{variant} for {found.manifest.target}, on {found.device}\n")
    print(
        f"model of one {found.core}, not a measurement of any board\n"
        f"modelled: {found.cycles:,.0f} cycles, {found.modelled_s * 1e3:.3f} ms at "
        f"{found.clock_hz / 1e9:g} GHz"
    )
    print(f"instructions: {found.instructions:,.0f}")
    if found.unmodelled:
        print(f"warning: {found.unmodelled:.1%} of them have no model and count as issued alone")
    if per_layer:
        print()
        columns = [">modelled cycles", ">share", ">MAC/cycle", ">instructions", ">waits for memory"]
        print_table(["layer", "kernel", *columns], [_row(layer) for layer in found.layers])


def _row(layer: ModelledLayer) -> tuple[str, ...]:
    return (
        layer.name,
        layer.kernel,
        f"{layer.cycles:,.0f}",
        percent(layer.share),
        f"{layer.macs / layer.cycles:.2f}" if layer.macs else "-",
        f"{layer.instructions:,.0f}",
        f"{layer.stall_cycles:,.0f}",
    )
