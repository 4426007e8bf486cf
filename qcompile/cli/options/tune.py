"""What `tune` takes."""

from qcompile.cli.help_tune import TUNE
from qcompile.cli.options.common import Commands, add_command, add_shapes
from qcompile.cli.values import positive, seed
from qcompile.tuning import TRIALS


def add_tune(commands: Commands) -> None:
    tune = add_command(commands, "tune", "find the fastest kernels of a model on its device", TUNE)
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
    add_shapes(tune)
    tune.add_argument(
        "--plots",
        action="store_true",
        help="draw tuning.png and tuning_tasks.png here; needs matplotlib",
    )
    tune.add_argument("--json", metavar="FILE", help="write the answer to FILE (-: to the output)")
