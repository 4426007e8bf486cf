"""Which commands there are and what they take. `--help` shows an example of each."""

import argparse
from collections.abc import Sequence

from qcompile import __version__
from qcompile.cli.help_quantize import QUANTIZE
from qcompile.cli.help_tune import TUNE
from qcompile.scales import SCALES
from qcompile.tuning import TRIALS
from qcompile.widths import MOST_BITS, RANGES, ROUNDINGS

FORMATTER = argparse.RawDescriptionHelpFormatter

OVERVIEW = """\
A compiler for quantized neural networks: ONNX in, a standalone C library out.

  0. quantize a float model                qcompile quantize float.onnx -o model.onnx \\
                                             --calibration images.npz --weights 4 --activations 4
  1. see what will become of a model       qcompile check model.onnx
  2. compile it                            qcompile compile model.onnx --target host -o build
  3. run it on your data                   qcompile run build --inputs samples.npz
  4. measure it, against others            qcompile bench build --against onnxruntime \\
                                             --model model.onnx
  5. make it faster on its device          qcompile tune model.onnx --target host --records records
"""

EPILOG = """\
New here? `qcompile demo` compiles a bundled network and runs it on bundled images.
Exit codes: 0 done, 1 the input or the environment is at fault, 2 wrong usage, 3 infeasible.
QCOMPILE_DEBUG=1 shows tracebacks and what the tools print.
"""

SAMPLES = """\
An NPZ file holds one array per model input, by name, of shape (samples, *input shape without its
batch axis*). Float inputs take any float type, integer inputs exactly theirs. A single-input
model also takes one array of any name, or a .npy file. Labels are the array `y` or `label`.
"""

CHECK = """\
examples:
  qcompile check model.onnx
      every layer with its formats and multiply-adds, what stays float and why
  qcompile check model.onnx --target cascadelake --json report.json
  qcompile check model.onnx --data test.npz
      also compile for this machine and compare with onnxruntime on the samples
  qcompile check model.onnx --layers
      the bounds of every layer's sums, which prove that no accumulator overflows
  qcompile check model.onnx --data test.npz --layers
      also compare the integers of every layer with onnxruntime's, each layer on onnxruntime's own
      inputs of it; a few samples do. Codes may differ where the reference's float value lies
      within float error of a tie; ends with code 1 where a layer differs elsewhere

"""

COMPILE = """\
examples:
  qcompile compile model.onnx --target host -o build
  qcompile compile model.onnx --target x86-64-v3 -o build --name classifier --batch 8
  qcompile compile model.onnx --target my_board.toml -o build --shape ids:1x128 --shape mask:1x128
  qcompile compile deep.onnx --target host -o build --variants variants.json
      more networks in the same library, weights that they share stored once; variants.json is
      {"variants": {"shallow": {"model": "shallow.onnx"}}}, with paths relative to it
  qcompile compile model.onnx --target znver4 -o build --records tuning
      kernels as fast as the records in the folder tuning/ know how to make them for this target
  qcompile compile model.onnx --target host -o shifted --scales power-of-two
      the integers of a VTA accelerator, which shifts and does not multiply; compare the accuracy of
      this bundle and of the one with exact scales. report.json says what each layer's weights lost

  qcompile compile model.onnx --target vta-pynq -o board
      an FPGA board: VTA gets the layers that it can compute sooner, board/vta/ their programs;
      `run` and `bench` simulate it with --device sim

Tuning records say which decisions made a kernel fast. They count where the problem and the
target's instructions are theirs; those of DB come before those that ship with qcompile, measured
times before modelled ones. What has no record, or none that beats the default, is compiled as
without. report.json says for each layer what it got and why.

DIR holds include/NAME.h, lib/libNAME.a, lib/libNAME.so, bin/NAME_bench, an example src/main.c,
manifest.json and report.json. It is replaced as a whole, or left as it was.
"""

RUN = """\
examples:
  qcompile run build --inputs test.npz
  qcompile run build --inputs image.npy --outputs scores.npz --threads 2
  qcompile run build --inputs test.npz --variant shallow
  qcompile run build --inputs test.npz --device qemu
  qcompile run build --inputs test.npz --device sim --dump-vta dump
      a bundle for VTA: the host part here, VTA simulated; OUT/NN_name/ gets each segment's
      vta_config.json, insn.bin, dram.bin (memory before, inputs in place), expected.bin (memory
      after) and manifest.json

"""

BENCH = """\
examples:
  qcompile bench build
  qcompile bench build --threads 2 --per-layer
  qcompile bench build --device qemu
  qcompile bench build --device model:rpi4 --per-layer
  qcompile bench build --device sim --per-layer --plots
      a bundle for VTA: the cycle simulator's cycles of each layer by unit, and a picture of the
      three queues over time
  qcompile bench build --against onnxruntime,openvino --model model.onnx --json latency.json
  qcompile bench build --against litert=model.tflite

Peers are measured alternately with ours in blocks, each in a process of its own that is stopped
while another one is measured, with the same number of threads. They come with
`pip install 'qcompile[bench]'`.
"""

TARGETS = """\
examples:
  qcompile targets            all targets, and which of them run on this machine
  qcompile targets znver4     one target's facts
  qcompile targets host       this machine as a target
"""

DEVICES = """\
examples:
  qcompile devices                     this machine, emulators, and how to name boards
  qcompile devices qemu:cortex-a53     one device: its processor, and whether programs run on it
  qcompile devices ssh://pi@raspberrypi
"""

DEMO = """\
example:
  qcompile demo -o demo       keep the networks, the images and the bundles in demo/
"""


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
    if arguments.command == "quantize" and arguments.bits is not None:
        for name in ("weights", "activations"):
            if getattr(arguments, name) is not None:
                parser.error(f"--bits tells all widths; --{name} is for doing without it")
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
        "--batch", metavar="B", type=_positive, help="the batch size where the model leaves it open"
    )
    _add_shape(command)


def _add_shape(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--shape",
        metavar="NAME:1x3x224x224",
        type=_shape,
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
    run.add_argument("--threads", metavar="N", type=_positive, help="default: the bundle's")


def _add_bench(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    bench = _add(commands, "bench", "measure a bundle's latency, alone or against others", BENCH)
    bench.add_argument("bundle", metavar="DIR", help="a bundle made by `compile`")
    _add_device(bench)
    _add_variant(bench)
    bench.add_argument("--threads", metavar="N", type=_positive, help="default: the bundle's")
    bench.add_argument("--repeat", metavar="N", type=_positive, help="inferences of each framework")
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
        type=_peers,
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
        type=_positive,
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
    tune.add_argument("--seed", metavar="S", type=_seed, default=0, help="of what is random")
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
        "--calibration", metavar="NPZ", required=True, help="inputs to fit to; labels are ignored"
    )
    quantize.add_argument("--bits", metavar="FILE", help="widths by layer, as JSON")
    for name, what in (("weights", "weights"), ("activations", "layers' inputs")):
        quantize.add_argument(
            f"--{name}", metavar="BITS", type=_width, help=f"of {what}, 1 to 8; default: 8"
        )
    quantize.add_argument(
        "--first-last",
        metavar="BITS",
        type=lambda text: None if text == "same" else _width(text),
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
        type=lambda text: None if text == "all" else _positive(text),
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
    _add_shape(quantize)


def _expect_model(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if arguments.model is None and {"onnxruntime", "openvino"} & set(arguments.against):
        parser.error("--against onnxruntime or openvino needs --model MODEL")
    if arguments.model is not None and not arguments.against:
        parser.error("--model is for --against, which is missing")


def _positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 0 < number < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return number


def _width(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_BITS):
        raise argparse.ArgumentTypeError(f"{text!r} is no width from 1 to {MOST_BITS}")
    return int(text)


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 999999999")
    return int(text)


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.rpartition(":")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME:1x3x224x224")
    return name, tuple(_positive(size) for size in sizes.split("x"))


def _peers(text: str) -> dict[str, str | None]:
    """Peers by name, with the model file of their own where they have one."""
    peers: dict[str, str | None] = {}
    for item in text.split(","):
        name, _, file = item.partition("=")
        if name not in ("onnxruntime", "openvino", "litert"):
            raise argparse.ArgumentTypeError(
                f"unknown peer {name!r}: known are onnxruntime, openvino and litert=FILE.tflite"
            )
        if (name == "litert") != bool(file):
            wanted = "litert=FILE.tflite" if name == "litert" else name
            raise argparse.ArgumentTypeError(f"{item!r}: expected {wanted}")
        peers[name] = file or None
    return peers
