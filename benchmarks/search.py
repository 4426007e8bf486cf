"""`qcompile search` on trained networks: predictions against measurements, and what was chosen.

    python benchmarks/search.py --shared FOLDER [NETWORK...] [--on host,vta-pynq] [--record]

FOLDER holds models/, cifar10-jpeg/ and fashion-mnist/. Accuracy is on the whole test set,
calibration images are training images. With --cache a search that was stopped goes on.
"""

import argparse
from pathlib import Path

import numpy as np
from labelled import LABELLED
from quantizer import calibration as calibration_images
from results import Report, Table, add_options, finish, working_folder

import qcompile
from qcompile.cli.show_search import SearchLines
from qcompile.search.loop.front import INT8, accuracy_of, front, time_of
from qcompile.search.loop.results import DeviceResult, SearchResult

NETWORKS = ["resnet8_ft_fp32", "fmnist_cnn_fp32"]
PLACES = "host,model:rpi4,vta-pynq"
SEARCHES = [
    *("network", "device", "minutes", "points", "rounds", "error 1st %", "error last %"),
    *("chosen", "ms", "int8 ms", "top-1", "int8 top-1", "float top-1", "beaten points"),
]
FRONT = ["network", "device", "assignment", "ms", "predicted ms", "top-1", "KiB"]


def main() -> None:
    options = arguments()
    searches, fronts = [], []
    with working_folder(options.cache) as folder:
        for name in options.networks or NETWORKS:
            data, calibration = samples(options.shared, folder, name)
            for place in options.on.split(","):
                found = qcompile.search_bits(
                    LABELLED[name].model(options.shared),
                    place,
                    data,
                    folder / f"{name}-{place.replace(':', '-')}",
                    calibration=calibration,
                    watcher=SearchLines(),
                )
                searches.append(summary(name, found, found.devices[0]))
                fronts += front_rows(name, found.devices[0])
    tables = [Table("Searches", SEARCHES, searches), Table("Fronts", FRONT, fronts)]
    finish(Report("search", tables, [REMARK]), options)


REMARK = (
    "Times on host are measured, on model:rpi4 modelled, on vta-pynq simulated. `error`: the "
    "largest of whole networks' predictions, made before they were measured, in the first and in "
    "the last round. `beaten points`: of the front, that a uniform assignment beats."
)


def summary(name: str, found: SearchResult, each: DeviceResult) -> list[str | int | float]:
    """The row of one search."""
    device, chosen = each.where.name, each.best
    assert chosen is not None
    int8 = next(point for point in found.points if point.name == INT8)
    uniform = [point for point in found.points if point.kind == "uniform"]
    allowed = [point.name for point in front([*uniform, *each.front], device)]
    errors = [100 * one.error for one in each.rounds if one.error is not None]
    return [
        *(name, device, round(found.seconds / 60, 1), len(found.points), len(each.rounds)),
        *((round(errors[0], 2), round(errors[-1], 2)) if errors else ("", "")),
        *(chosen.name, 1e3 * time_of(chosen, device), 1e3 * time_of(int8, device)),
        *(round(100 * accuracy_of(point, device), 2) for point in (chosen, int8)),
        round(100 * found.float_accuracy, 2),
        sum(point.name not in allowed for point in each.front),
    ]


def front_rows(name: str, each: DeviceResult) -> list[list[str | int | float]]:
    device = each.where.name
    return [
        [
            *(name, device, point.name, 1e3 * time_of(point, device)),
            "" if (predicted := point.on[device].predicted_s) is None else 1e3 * predicted,
            round(100 * accuracy_of(point, device), 2),
            round(point.weight_bytes / 1024, 1),
        ]
        for point in each.front
    ]


def samples(shared: Path, folder: Path, name: str) -> tuple[Path, Path]:
    """The labelled samples and the calibration inputs of a network, as files."""
    data, calibration = folder / f"{name}.npz", folder / f"{name}_calibration.npz"
    images, labels = LABELLED[name].samples(shared)
    np.savez(data, input=images, y=labels)
    np.savez(calibration, input=calibration_images(name, shared))
    return data, calibration


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="default: both")
    parser.add_argument("--shared", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--on", default=PLACES, help=f"default: {PLACES}")
    add_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
