"""Write what every segment's memory holds before and after one run.

OUT/NN_name/ holds the files of the segment in the bundle, the inputs in place in `dram.bin`, and
`expected.bin`, the same memory after the program.
"""

from collections.abc import Mapping
from pathlib import Path

from qcompile.arrays import Array
from qcompile.files import expect_empty_folder, make_folder, write_whole
from qcompile.vta.segment import VtaSegment
from qcompile.vta.simulated import SimulatedBundle


def dump(network: SimulatedBundle, inputs: Mapping[str, Array], folder: str | Path) -> list[Path]:
    """Run the network once on fresh memory; the folders of its segments, as they were written."""
    expect_empty_folder(folder)
    written: list[Path] = []

    def write(segment: VtaSegment, before: Array, after: Array) -> None:
        place = Path(folder) / segment.folder
        make_folder(place)
        images = {"dram.bin": before.tobytes(), "expected.bin": after.tobytes()}
        for file, content in (segment.files() | images).items():
            write_whole(place / file, content)
        written.append(place)

    network.watch(inputs, write)
    return written
