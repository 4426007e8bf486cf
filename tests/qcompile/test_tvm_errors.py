"""Our errors keep their class on the way through TVM, whichever door was taken."""

import subprocess
import sys
from importlib.resources import files

import pytest

from qcompile.commands.demo import NETWORKS

MODEL = files("qcompile") / "demo_data" / NETWORKS["int8"]

DOORS = {
    "analyze": """
        compiler.analyze(Path(model), load_target("x86-64-v3"))
    """,
    "compile_model": """
        compiler.compile_model(Path(model), load_target("x86-64-v3"), output=Path(folder) / "out")
    """,
    "pipeline": """
        pipeline.register_pipeline()
        module = import_onnx(model).mod
        target = tvm.target.Target({"kind": "llvm", "mcpu": "x86-64-v3"})
        tvm.compile(module, target, relax_pipeline=relax.get_pipeline("qcompile"))
    """,
}

# A process of its own: an error that is registered once is registered for good.
PROGRAM = """
import sys
from pathlib import Path

import tvm
from tvm import relax

from qcompile import compiler, lowering, pipeline
from qcompile.errors import Unsupported
from qcompile.frontend import import_onnx
from qcompile.targets import load_target


@tvm.transform.module_pass(opt_level=0)
def refuse(mod, context):
    raise Unsupported("Conv 'c': no")


for place in (compiler, lowering, pipeline):
    place.integer_form_passes = lambda *_: [refuse]
model, folder = sys.argv[1:]
try:
{door}
except Unsupported as error:
    assert "Conv 'c': no" in str(error)
    sys.exit(7)
"""


@pytest.mark.parametrize("door", DOORS)
def test_errors_keep_their_class(door, tmp_path):
    program = PROGRAM.format(door=DOORS[door])
    command = [sys.executable, "-c", program, str(MODEL), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
