"""Networks on the device `sim`: VTA simulated, the rest of the network on this processor."""

from pathlib import Path

from qcompile.arrays import Array, Samples, batch_size, batches, run_samples
from qcompile.commands.manifest import Manifest
from qcompile.commands.progress import Progress
from qcompile.devices import LOCAL, SIM
from qcompile.errors import DeviceError, InvalidInput


def expect_place(manifest: Manifest, device: str) -> None:
    """Raise DeviceError when the bundle is for VTA and the device is not, or the other way."""
    if manifest.vta is not None and device == LOCAL:
        raise DeviceError(
            f"{manifest.folder}: compiled for {manifest.target}, an FPGA with VTA; this machine "
            "simulates it: use --device sim"
        )
    if manifest.vta is None and device == SIM:
        raise DeviceError(
            f"{device}: simulates VTA; {manifest.folder} is compiled for {manifest.target}: run it "
            "here (--device local), or compile it for a target vta-..."
        )


def expect_simulated(device: str, option: str) -> None:
    """Raise InvalidInput for an option of simulations on another device."""
    if device != SIM:
        raise InvalidInput(f"{option}: is of simulations: it needs --device sim, found {device}")


def expect_plain(device: str, **options: object) -> None:
    """Raise InvalidInput for options that a simulation has no use for."""
    for name, value in options.items():
        if value and device == SIM:
            raise InvalidInput(
                f"--{name.replace('_', '-')}: {device} simulates one inference at a time, the same "
                "every time; leave the option out"
            )


def simulate(
    manifest: Manifest, samples: Samples, dump_vta: str | Path | None, progress: Progress
) -> dict[str, Array]:
    """The outputs of all samples by name; the folder `dump_vta` gets the first sample's memory."""
    from qcompile.bundle import load
    from qcompile.vta.dump import dump
    from qcompile.vta.simulated import SimulatedBundle

    network = load(manifest.folder)
    assert isinstance(network, SimulatedBundle)
    if dump_vta is not None:
        first = next(batches(samples, batch_size(manifest.inputs)))
        dump(network, first, dump_vta)
    return run_samples(
        network.run,
        samples,
        manifest.inputs,
        [output.name for output in manifest.outputs],
        lambda done, total: progress("simulating", done, total),
    )
