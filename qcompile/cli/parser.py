"""Which commands there are and what they take. `--help` shows an example of each."""

import argparse
from collections.abc import Sequence

from qcompile import __version__
from qcompile.cli.help_quantize import QUANTIZE
from qcompile.cli.help_search import SEARCH
from qcompile.cli.help_texts import (
    BENCH,
    CHECK,
    COMPILE,
    DEMO,
    DEVICES,
    EPILOG,
    OVERVIEW,
    RUN,
    SAMPLES,
    TARGETS,
)
from qcompile.cli.help_tune import TUNE
from qcompile.cli.values import amount, peers, positive, seed, shape, width, widths
from qcompile.scales import SCALES
from qcompile.tuning import TRIALS
from qcompile.widths import FINE_TUNE_STEPS, MOST_BITS, RANGES, ROUNDINGS

FORMATTER = argparse.RawDescriptionHelpFormatter


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; ends the process with code 2 and a hint when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="qcompile", description=OVERVIEW, epilog=EPILOG, formatter_class=FORMATTER
    )
    parser.add_argument("--version", action="version", version=f"qcompile {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_check(commands)
    _add_compile(commands)
    _add_run(commands)
    _add_bench(commands)
    _add_tune(commands)
    _add_quantize(commands)
    _add_search(commands)
    targets = _add(commands, "targets", "list targets, or show one", TARGETS)
    targets.add_argument("target", nargs="?", metavar="T", help="a name, `host`, or a TOML file")
    devices = _add(commands, "devices", "list devices, or show one and what ails it", DEVICES)
    forms = "local, sim, qemu[:CPU], ssh://user@host[:port], adb:SERIAL, rpc://tracker:port/key"
    devices.add_argument("device", nargs="?", metavar="D", help=forms)
    demo = _add(commands, "demo", "compile bundled networks and run them on bundled images", DEMO)
    demo.add_argument("-o", dest="output", metavar="DIR", help="keep everything in DIR")
    arguments = parser.parse_args(argv)
    if arguments.command == "bench":
        _expect_model(parser, arguments)
    if arguments.command == "compile" and (arguments.bits is None) != (
        arguments.calibration is None
    ):
        parser.error("--bits and --calibration go together: widths are fitted to samples")
    if arguments.command == "quantize" and arguments.bits is not None:
        for name in ("weights", "activations"):
            if getattr(arguments, name) is not None:
                parser.error(f"--bits tells all widths; --{name} is for doing without it")
    if arguments.command == "search" and arguments.accelerator:
        for name in ("records", "budget_kib", "fine_tune", "plots"):
            if getattr(arguments, name):
                parser.error(f"--{name.replace('_', '-')} and --accelerator do not go together")
        if len(arguments.on) > 1:
            parser.error("--accelerator is for one board: give --on once")
    names = [name for name, _ in getattr(arguments, "shape", [])]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        parser.error(f"--shape gives {', '.join(twice)} twice")
    return arguments


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    does: str,
    epilog: str,
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=does,
        description=does[0].upper() + does[1:] + ".",
        epilog=epilog,
        formatter_class=FORMATTER,
        allow_abbrev=False,
    )


def _add_check(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    check = _add(commands, "check", "tell what will become of a model", CHECK + SAMPLES)
    check.add_argument("model", metavar="MODEL", help="an ONNX file")
    check.add_argument("--target", metavar="T", default="host", help="default: this machine")
    _add_shapes(check)
    check.add_argument("--data", metavar="NPZ", help="compare with onnxruntime on these samples")
    check.add_argument(
        "--layers", action="store_true", help="prove every layer's sums; with --data compare each"
    )
    _add_scales(check)
    check.add_argument("--json", metavar="FILE", help="write the answer to FILE (-: to the output)")


def _add_scales(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--scales",
        choices=SCALES,
        help="of codes: the model's own (the default), or powers of two, which hardware without "
        "multipliers shifts by (the default for VTA, whose sums the processor else multiplies); "
        "-4: layers with weights of up to 4 bits keep to 4, for a VTA of such weights; shift-add: "
        "sums of up to three powers of two, the weights as they are; slower and less precise",
    )


def _add_compile(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    compile_ = _add(commands, "compile", "compile a model to a bundle", COMPILE)
    compile_.add_argument("model", metavar="MODEL", help="an ONNX file")
    compile_.add_argument(
        "--target", metavar="T", required=True, help="a name (see `targets`), `host`, a TOML file"
    )
    compile_.add_argument("-o", dest="output", metavar="DIR", required=True, help="the bundle")
    compile_.add_argument("--name", metavar="N", help="prefix of the C names (default: the file's)")
    _add_shapes(compile_)
    compile_.add_argument(
        "--quantized-io",
        action="store_true",
        help="strip the outer quantizers: the application passes integer codes",
    )
    _add_scales(compile_)
    compile_.add_argument(
        "--threads",
        metavar="N",
        type=positive,
        default=1,
        help="that it will run on: those of `run` and `bench`, and of the records; default: 1",
    )
    compile_.add_argument(
        "--bits", metavar="FILE", help="quantize a float model to these widths by layer, as JSON"
    )
    compile_.add_argument(
        "--calibration", metavar="NPZ", help="inputs to fit the widths of --bits to"
    )
    compile_.add_argument(
        "--records", metavar="DB", help="a folder of tuning records (*.jsonl) to choose kernels by"
    )
    compile_.add_argument(
        "--variants", metavar="FILE", help="more networks that share the weights, as JSON"
    )
    compile_.add_argument(
        "--dump-ir", metavar="DIR", help="also write the module after each step, as text"
    )


def _add_shapes(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--batch", metavar="B", type=positive, help="the batch size where the model leaves it open"
    )
    _add_shape(command)


def _add_shape(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--shape",
        metavar="NAME:1x3x224x224",
        type=shape,
        action="append",
        default=[],
        help="an input's shape where the model leaves it open; may be repeated",
    )


def _add_variant(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--variant", metavar="V", help="the network, of a bundle of several (default: the first)"
    )


def _add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--device", metavar="D", default="local", help="where (see `devices`); default: here"
    )


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = _add(commands, "run", "run a bundle on samples", RUN + SAMPLES)
    run.add_argument("bundle", metavar="DIR", help="a bundle made by `compile`")
    run.add_argument("--inputs", metavar="NPZ", required=True, help="the samples, .npz or .npy")
    run.add_argument("--outputs", metavar="NPZ", help="write the outputs, by name")
    _add_device(run)
    _add_variant(run)
    run.add_argument(
        "--dump-vta",
        metavar="OUT",
        help="with --device sim: write each segment's program and memory on the first sample",
    )
    run.add_argument("--threads", metavar="N", type=positive, help="default: the bundle's")


def _add_bench(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    bench = _add(commands, "bench", "measure a bundle's latency, alone or against others", BENCH)
    bench.add_argument("bundle", metavar="DIR", help="a bundle made by `compile`")
    _add_device(bench)
    _add_variant(bench)
    bench.add_argument("--threads", metavar="N", type=positive, help="default: the bundle's")
    bench.add_argument("--repeat", metavar="N", type=positive, help="inferences of each framework")
    bench.add_argument("--per-layer", action="store_true", help="also the time of every layer")
    bench.add_argument(
        "--plots",
        action="store_true",
        help="draw latency.png (and layers.png, or VTA's queues) here; needs matplotlib",
    )
    bench.add_argument("--json", metavar="FILE", help="write the answer to FILE (-: to the output)")
    bench.add_argument(
        "--against",
        metavar="PEERS",
        type=peers,
        default={},
        help="onnxruntime, openvino, litert=FILE.tflite, separated by commas",
    )
    bench.add_argument("--model", metavar="MODEL", help="the ONNX file that the peers run")


def _add_tune(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    tune = _add(commands, "tune", "find the fastest kernels of a model on its device", TUNE)
    tune.add_argument("model", metavar="MODEL", help="an ONNX file")
    tune.add_argument(
        "--target", metavar="T", required=True, help="a name (see `targets`), `host`, a TOML file"
    )
    tune.add_argument(
        "--records", metavar="DB", required=True, help="the folder that gets every measurement"
    )
    tune.add_argument(
        "--trials",
        metavar="N",
        type=positive,
        default=TRIALS,
        help=f"at most so many new ones; default: {TRIALS}",
    )
    tune.add_argument(
        "--device",
        metavar="D",
        dest="devices",
        action="append",
        help="local, ssh://…, adb:…, rpc://… (see `devices`), model:TARGET; may be repeated; sim "
        "for VTA; default: here",
    )
    tune.add_argument(
        "--threads",
        metavar="N",
        type=positive,
        default=1,
        help="that kernels run on; with several, what they share is tuned, too; default: 1",
    )
    tune.add_argument("--seed", metavar="S", type=seed, default=0, help="of what is random")
    _add_shapes(tune)
    tune.add_argument(
        "--plots",
        action="store_true",
        help="draw tuning.png and tuning_tasks.png here; needs matplotlib",
    )
    tune.add_argument("--json", metavar="FILE", help="write the answer to FILE (-: to the output)")


def _add_quantize(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    does = "quantize a float model after training"
    quantize = _add(commands, "quantize", does, QUANTIZE + SAMPLES)
    quantize.add_argument("model", metavar="MODEL", help="a float32 ONNX file")
    quantize.add_argument("-o", dest="output", metavar="FILE", required=True, help="what is made")
    quantize.add_argument(
        "--calibration",
        metavar="NPZ",
        help="inputs to fit to; labels are ignored; default: distilled from the statistics of the "
        "model's BatchNormalization nodes",
    )
    quantize.add_argument("--bits", metavar="FILE", help="widths by layer, as JSON")
    for name, what in (("weights", "weights"), ("activations", "layers' inputs")):
        quantize.add_argument(
            f"--{name}", metavar="BITS", type=width, help=f"of {what}, 1 to 8; default: 8"
        )
    quantize.add_argument(
        "--first-last",
        metavar="BITS",
        type=lambda text: None if text == "same" else width(text),
        default=MOST_BITS,
        help="of the first and last layers; `same`: as all others; default: 8",
    )
    quantize.add_argument(
        "--rounding",
        choices=ROUNDINGS,
        default=ROUNDINGS[0],
        help="of weights, after a refit to quantized inputs, or each for itself; default: hessian",
    )
    quantize.add_argument(
        "--ranges", choices=RANGES, default=RANGES[0], help="of activations; default: mse"
    )
    quantize.add_argument(
        "--channels-per-scale",
        metavar="N",
        type=lambda text: None if text == "all" else positive(text),
        default=1,
        help="output channels that share the weights' scale, or `all`; default: 1",
    )
    quantize.add_argument(
        "--equalize",
        action="store_true",
        help="first bring channels between two layers to like ranges; of use where they share one",
    )
    quantize.add_argument(
        "--equal-adds",
        action="store_true",
        help="one scale for both operands of an addition, for hardware that adds codes as they are",
    )
    quantize.add_argument(
        "--fine-tune",
        metavar="STEPS",
        type=positive,
        nargs="?",
        const=FINE_TUNE_STEPS,
        default=0,
        help="then train against the float model on the same inputs; default where no number is "
        f"given: {FINE_TUNE_STEPS}",
    )
    _add_shape(quantize)


def _add_search(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    does = "choose bit widths by what they take on devices"
    search = _add(commands, "search", does, SEARCH + SAMPLES)
    search.add_argument("model", metavar="MODEL", help="a float32 ONNX file")
    search.add_argument(
        "--on",
        metavar="TARGET[=DEVICE]",
        action="append",
        required=True,
        help="a target, and the device that measures it (default: here for host, sim for VTA, "
        "model:TARGET for others); may be repeated",
    )
    search.add_argument("--data", metavar="NPZ", required=True, help="labelled samples")
    search.add_argument(
        "--calibration",
        metavar="NPZ",
        help="inputs to quantize by; default: some of --data, without their labels",
    )
    search.add_argument("-o", dest="output", metavar="DIR", required=True, help="what is found")
    search.add_argument("--records", metavar="DB", help="a folder of records of `tune`")
    search.add_argument(
        "--bits", metavar="B,B,...", type=widths, default=(8, 4, 2), help="default: 8,4,2"
    )
    search.add_argument("--budget-ms", metavar="X", type=amount, help="of one inference")
    search.add_argument("--budget-kib", metavar="X", type=amount, help="of all weights, packed")
    search.add_argument(
        "--max-drop",
        metavar="P",
        type=amount,
        help="of accuracy against float32, in points; default: 1, or any where --budget-ms or "
        "--budget-kib is given",
    )
    search.add_argument(
        "--fine-tune",
        metavar="COMMAND",
        help="run on each assignment of the front as COMMAND BITS_JSON OUTPUT_ONNX: trains it "
        "further and writes a quantized model",
    )
    search.add_argument(
        "--accelerator",
        action="store_true",
        help="also choose VTA's configuration, within what the FPGA of the board in --on holds",
    )
    search.add_argument("--plots", action="store_true", help="draw into DIR; needs matplotlib")
    search.add_argument("--seed", metavar="S", type=seed, default=0, help="of what is random")


def _expect_model(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if arguments.model is None and {"onnxruntime", "openvino"} & set(arguments.against):
        parser.error("--against onnxruntime or openvino needs --model MODEL")
    if arguments.model is not None and not arguments.against:
        parser.error("--model is for --against, which is missing")
