"""One function for each command: call the library, print what it found."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcompile.cli.answers import bench_answer, check_answer, model_answer, tune_answer
from qcompile.cli.progress import progress
from qcompile.cli.show import (
    dot_product,
    show_bench,
    show_bundle,
    show_check,
    show_demo,
    show_run,
    show_target,
    show_targets,
)
from qcompile.cli.show_boards import show_board, show_boards
from qcompile.cli.show_devices import show_device, show_devices
from qcompile.cli.show_layers import agreement_verdict, show_layers
from qcompile.cli.show_model import show_model_bench
from qcompile.cli.show_quantize import show_quantization
from qcompile.cli.show_search import SearchLines, show_co_design, show_search
from qcompile.cli.show_sim import show_sim_bench, sim_answer
from qcompile.cli.show_tune import show_tune
from qcompile.cli.show_tuned import show_tuned
from qcompile.cli.show_vta import show_vta
from qcompile.cli.tune_progress import tune_progress
from qcompile.errors import DeviceError, DeviceLost, Disagreement, InvalidInput
from qcompile.files import expect_writable, write_whole

if TYPE_CHECKING:
    from qcompile.tuning.result import TuneResult


def check(arguments: argparse.Namespace) -> None:
    from qcompile.commands.check import check

    _expect_json(arguments.json)
    with progress() as report:
        found = check(
            arguments.model,
            arguments.target,
            batch=arguments.batch,
            shapes=dict(arguments.shape),
            data=arguments.data,
            layers=arguments.layers,
            scales=arguments.scales,
            progress=report,
        )
    if arguments.json != "-":
        show_check(found)
        if arguments.layers:
            print()
            show_layers(found)
    _write_json(arguments.json, check_answer(found, arguments.layers))
    if not found.agrees:
        raise Disagreement(agreement_verdict(found.layers or ()))


def compile_(arguments: argparse.Namespace) -> None:
    from qcompile.commands.compile import compile
    from qcompile.commands.manifest import tuned_kernels
    from qcompile.targets import Target, load_target

    target = load_target(arguments.target)
    if isinstance(target, Target) and target.name == "host":
        print(f"host: {target.source}; int8 dot product: {dot_product(target)}")
    with progress() as report:
        manifest = compile(
            arguments.model,
            target,
            arguments.output,
            name=arguments.name,
            batch=arguments.batch,
            shapes=dict(arguments.shape),
            quantized_io=arguments.quantized_io,
            scales=arguments.scales,
            threads=arguments.threads,
            bits=arguments.bits,
            calibration=arguments.calibration,
            records=arguments.records,
            variants=arguments.variants,
            dump_ir=arguments.dump_ir,
            progress=report,
        )
    show_bundle(manifest)
    show_vta(manifest)
    show_tuned(tuned_kernels(manifest.folder))


def run(arguments: argparse.Namespace) -> None:
    from qcompile.commands.run import run

    with progress() as report:
        found = run(
            arguments.bundle,
            arguments.inputs,
            outputs=arguments.outputs,
            variant=arguments.variant,
            threads=arguments.threads,
            device=arguments.device,
            dump_vta=arguments.dump_vta,
            progress=report,
        )
    show_run(found)


def bench(arguments: argparse.Namespace) -> None:
    if arguments.device.startswith("model:"):
        _model_bench(arguments)
        return
    if arguments.device == "sim":
        _sim_bench(arguments)
        return
    from qcompile.commands.bench import bench
    from qcompile.commands.plots import draw, expect_matplotlib

    _expect_json(arguments.json)
    if arguments.plots:
        expect_matplotlib()
    with progress() as report:
        found = bench(
            arguments.bundle,
            variant=arguments.variant,
            threads=arguments.threads,
            repeat=arguments.repeat,
            per_layer=arguments.per_layer,
            against=arguments.against,
            model=arguments.model,
            device=arguments.device,
            progress=report,
        )
    if arguments.json != "-":
        show_bench(found)
    _write_json(arguments.json, bench_answer(found))
    if arguments.plots:
        for file in draw(found, Path.cwd()):
            print(f"wrote {file}")
    if found.lost is not None:
        raise DeviceLost(found.lost)


def _model_bench(arguments: argparse.Namespace) -> None:
    from qcompile.commands.model_bench import model_bench

    for name in ("against", "threads", "repeat", "plots"):
        if getattr(arguments, name):
            raise InvalidInput(f"--{name}: {arguments.device} models one inference on one core")
    _expect_json(arguments.json)
    found = model_bench(arguments.bundle, arguments.device, arguments.variant)
    if arguments.json != "-":
        show_model_bench(found, arguments.per_layer)
    _write_json(arguments.json, model_answer(found))


def _sim_bench(arguments: argparse.Namespace) -> None:
    from qcompile.commands.plots import expect_matplotlib
    from qcompile.commands.sim_bench import sim_bench
    from qcompile.commands.sim_plots import draw_queues
    from qcompile.commands.simulation import expect_plain

    options = {name: getattr(arguments, name) for name in ("against", "threads", "repeat")}
    expect_plain(arguments.device, **options)
    _expect_json(arguments.json)
    if arguments.plots:
        expect_matplotlib()
    found = sim_bench(arguments.bundle, arguments.variant)
    if arguments.json != "-":
        show_sim_bench(found, arguments.per_layer)
    _write_json(arguments.json, sim_answer(found))
    if arguments.plots:
        for file in draw_queues(found, Path.cwd()):
            print(f"wrote {file}", file=sys.stderr if arguments.json == "-" else sys.stdout)


def tune(arguments: argparse.Namespace) -> None:
    from qcompile.commands.plots import expect_matplotlib
    from qcompile.commands.tune import tune
    from qcompile.tuning.result import TuningInterrupted

    _expect_json(arguments.json)
    if arguments.plots:
        expect_matplotlib()
    try:
        with tune_progress() as watcher:
            found = tune(
                arguments.model,
                arguments.target,
                arguments.records,
                trials=arguments.trials,
                devices=arguments.devices,
                threads=arguments.threads,
                seed=arguments.seed,
                batch=arguments.batch,
                shapes=dict(arguments.shape),
                watcher=watcher,
            )
    except TuningInterrupted as error:
        _tell_tuning(arguments, error.result)
        raise
    _tell_tuning(arguments, found)
    if found.interrupted is not None:
        raise DeviceLost(found.interrupted)


def _tell_tuning(arguments: argparse.Namespace, found: TuneResult) -> None:
    from qcompile.commands.tune_plots import draw_tuning

    if arguments.json != "-":
        words = ["qcompile", "compile", arguments.model, "--target", arguments.target]
        words += ["--records", arguments.records, "-o", "build"]
        words += ["--threads", str(found.threads)] if found.threads > 1 else []
        show_tune(found, shlex.join(words))
    _write_json(arguments.json, tune_answer(found))
    if arguments.plots:
        for file in draw_tuning(found, Path.cwd()):
            print(f"wrote {file}", file=sys.stderr if arguments.json == "-" else sys.stdout)


def quantize(arguments: argparse.Namespace) -> None:
    from qcompile.commands.quantize import quantize
    from qcompile.quantizer import QuantizeOptions

    options = QuantizeOptions(
        first_last=arguments.first_last,
        ranges=arguments.ranges,
        channels_per_scale=arguments.channels_per_scale,
        rounding=arguments.rounding,
        equalize=arguments.equalize,
        equal_adds=arguments.equal_adds,
        fine_tune=arguments.fine_tune,
    )
    with progress() as report:
        found = quantize(
            arguments.model,
            arguments.output,
            arguments.calibration,
            weights=arguments.weights,
            activations=arguments.activations,
            bits=arguments.bits,
            options=options,
            shapes=dict(arguments.shape),
            progress=report,
        )
    show_quantization(found)


def search(arguments: argparse.Namespace) -> None:
    from qcompile.commands.search import search_bits
    from qcompile.search.loop.searching import expect_reached

    if arguments.accelerator:
        _search_accelerator(arguments)
        return
    lines = SearchLines()
    found = search_bits(
        arguments.model,
        arguments.on,
        arguments.data,
        arguments.output,
        calibration=arguments.calibration,
        records=arguments.records,
        bits=arguments.bits,
        budget_ms=arguments.budget_ms,
        budget_kib=arguments.budget_kib,
        max_drop=arguments.max_drop,
        fine_tune=arguments.fine_tune,
        plots=arguments.plots,
        seed=arguments.seed,
        watcher=lines,
    )
    show_search(found)
    expect_reached(found)


def _search_accelerator(arguments: argparse.Namespace) -> None:
    from qcompile.commands.search import search_accelerator
    from qcompile.search.loop.co_design import expect_designed

    made = search_accelerator(
        arguments.model,
        arguments.on[0],
        arguments.data,
        arguments.output,
        calibration=arguments.calibration,
        bits=arguments.bits,
        budget_ms=arguments.budget_ms,
        max_drop=arguments.max_drop,
        watcher=SearchLines(),
    )
    show_co_design(made)
    expect_designed(made)


def targets(arguments: argparse.Namespace) -> None:
    from qcompile.targets import VtaTarget, list_targets, load_target

    if arguments.target is None:
        known = [load_target(name) for name in list_targets()]
        show_targets([target for target in known if not isinstance(target, VtaTarget)])
        print()
        show_boards([target for target in known if isinstance(target, VtaTarget)])
        print("\n`host` is this machine as detected; a path to a TOML file is one of your own.")
    else:
        target = load_target(arguments.target)
        show_board(target) if isinstance(target, VtaTarget) else show_target(target)


def devices(arguments: argparse.Namespace) -> None:
    if arguments.device is None:
        from qcompile.devices import list_devices

        show_devices(list_devices())
        return
    from qcompile.commands.devices import device_facts

    found = device_facts(arguments.device)
    show_device(found)
    if found.trial is not None:
        raise DeviceError(found.trial)


def demo(arguments: argparse.Namespace) -> None:
    from qcompile.commands.demo import demo

    with progress() as report:
        found = demo(arguments.output, progress=report)
    show_demo(found)


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "check": check,
    "compile": compile_,
    "run": run,
    "bench": bench,
    "tune": tune,
    "quantize": quantize,
    "search": search,
    "targets": targets,
    "devices": devices,
    "demo": demo,
}


def _expect_json(file: str | None) -> None:
    if file not in (None, "-"):
        expect_writable(str(file))


def _write_json(file: str | None, answer: dict[str, Any]) -> None:
    if file is None:
        return
    text = json.dumps(answer, indent=2) + "\n"
    if file == "-":
        print(text, end="")
    else:
        write_whole(file, text.encode())
