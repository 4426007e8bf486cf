"""What `check --layers` prints: the proof of every accumulator, and the comparison."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from qcompile.cli.tables import print_table, printable

if TYPE_CHECKING:
    from qcompile.certificate import Accumulator
    from qcompile.commands.check import Check
    from qcompile.layerwise.tally import Difference, LayerAgreement


def show_layers(found: Check) -> None:
    """One row for each layer, and a sentence on all of them."""
    if found.layers is None:
        _show_proofs(found)
    else:
        _show_agreement(found, found.layers)
    print(f"\n{proof_verdict(found.analysis.accumulators)}")
    if found.layers is not None:
        print(printable(agreement_verdict(found.layers)))


def proof_verdict(accumulators: Iterable[Accumulator]) -> str:
    """A sentence on the proofs."""
    proofs = list(accumulators)
    if not proofs:
        return "no layer sums integers"
    widest = max(proofs, key=lambda proof: proof.bits)
    rounded = [proof.name for proof in proofs if not proof.float32_exact]
    told = f"; beyond 2^24, so rounded to float32: {', '.join(rounded)}" if rounded else ""
    return printable(
        f"proved: no int32 accumulator overflows; the widest, of {widest.name}, "
        f"needs {widest.bits} bits{told}"
    )


def agreement_verdict(layers: Iterable[LayerAgreement]) -> str:
    """A sentence on the comparison; names the first disagreement, else the first tie."""
    every = list(layers)
    codes = [layer for layer in every if layer.codes]
    total, different = sum(x.elements for x in codes), sum(x.different for x in codes)
    wrong = [layer for layer in every if not layer.agrees]
    if wrong:
        names = ", ".join(layer_name(layer) for layer in wrong)
        return f"DISAGREES with the reference: {names}; first {place(wrong[0])}"
    tied = next((layer for layer in codes if layer.different), None)
    if tied is None:
        return f"all {total} codes of {len(codes)} tensors are the reference's"
    return (
        f"{total - different} of {total} codes are the reference's, the others lie at a tie of its "
        f"float values, where its own rounding decides; first {place(tied)}"
    )


def place(layer: LayerAgreement) -> str:
    """Where a layer differs first."""
    first = layer.first
    assert first is not None
    return (
        f"{layer_name(layer)}, sample {first.sample}, index {list(first.index)}: {_values(first)}"
    )


def layer_name(layer: LayerAgreement) -> str:
    """The convolutions and products of a tensor, or the node that makes it."""
    return " + ".join(layer.layers) or layer.node


def _values(first: Difference) -> str:
    told = "" if first.tie is None else f", {first.tie:.1e} of a step from a tie"
    return f"ours {first.ours:g}, the reference's {first.reference:g}{told}"


def _show_proofs(found: Check) -> None:
    kernels = found.analysis.kernels
    rows = [
        (
            proof.name,
            kernels[proof.name],
            f"{proof.codes[0]} .. {proof.codes[1]}",
            str(proof.lowest),
            str(proof.highest),
            str(proof.bits),
            "yes" if proof.float32_exact else "no",
        )
        for proof in found.analysis.accumulators
    ]
    columns = [">data codes", ">lowest sum", ">highest sum", ">bits", "exact in float32"]
    print_table(["layer", "kernel", *columns], rows)


def _show_agreement(found: Check, layers: Iterable[LayerAgreement]) -> None:
    proofs = {proof.name: proof for proof in found.analysis.accumulators}
    rows = [
        (
            layer_name(layer),
            " + ".join(_kernels(found, layer)),
            str(layer.elements),
            str(layer.different) if layer.codes else "-",
            _largest(layer),
            " + ".join(_bounds(proofs[name]) for name in layer.layers if name in proofs),
            _verdict(layer),
        )
        for layer in layers
    ]
    columns = ["kernel", ">compared", ">different", ">largest difference", "sums between"]
    print_table(["layer", *columns, "verdict"], rows)


def _kernels(found: Check, layer: LayerAgreement) -> Iterator[str]:
    """The kernels that were compared; the whole network's beside one that is another."""
    whole = found.analysis.kernels if found.target.name == "host" else {}
    for name, kernel in zip(layer.layers, layer.kernels, strict=True):
        other = whole.get(name, kernel)
        yield kernel if other == kernel else f"{kernel} (in the network {other})"


def _bounds(proof: Accumulator) -> str:
    return f"{proof.lowest} .. {proof.highest} ({proof.bits} bits)"


def _largest(layer: LayerAgreement) -> str:
    if not layer.codes:
        return f"{layer.difference:.0e} of the range"
    steps = f"{layer.difference:.0f}"
    return {"0": "0", "1": "1 step"}.get(steps, f"{steps} steps")


def _verdict(layer: LayerAgreement) -> str:
    if not layer.agrees:
        return f"DISAGREES in {layer.disagreeing}"
    if not layer.codes:
        return "same floats"
    return "exact" if not layer.different else f"ties, at most {layer.tie or 0:.0e} of a step away"
