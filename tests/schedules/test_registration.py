"""A kernel that another process made compiles: its intrinsics are known without its maker."""

import subprocess
import sys
from importlib.resources import files

import tvm

from qcompile.commands.demo import NETWORKS
from qcompile.frontend import import_onnx
from qcompile.pipeline import fuse_passes, integer_form_passes, lower_passes, own_form_passes
from qcompile.targets import load_target

PROGRAM = """
import sys
from pathlib import Path

import tvm

from qcompile.export import export_bundle
from qcompile.ops import register_ops
from qcompile.targets import load_target

register_ops()
module = tvm.ir.load_json(Path(sys.argv[1]).read_text())
export_bundle(module, name="net", target=load_target("x86-64-v3"), output=sys.argv[2])
"""


def test_another_process_compiles_the_kernels(tmp_path):
    target = load_target("x86-64-v3")
    passes = [
        *own_form_passes(),
        *integer_form_passes(),
        *lower_passes(target),
        *fuse_passes(target),
    ]
    imported = import_onnx(files("qcompile") / "demo_data" / NETWORKS["int8"])
    kernels = tvm.transform.Sequential(passes)(imported.mod)
    assert "to_nearest" in kernels.script()
    (tmp_path / "kernels.json").write_text(tvm.ir.save_json(kernels))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "kernels.json"), str(tmp_path / "net")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "net" / "lib" / "libnet.so").is_file()
