"""What the README shows, done."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from qcompile.commands.demo import write_demo_data
from qcompile.targets import host_features

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a reader of the tour is."""
    folder = tmp_path_factory.mktemp("tour")
    write_demo_data(folder / "demo")
    return folder


@pytest.mark.skipif("avx2" not in host_features(), reason="needs AVX2")
@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_runs(folder, number):
    command = [sys.executable, "-c", blocks("python")[number]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_c_compiles_and_runs(folder):
    command = [sys.executable, "-m", "qcompile", "compile", "demo/int8.onnx"]
    options = ["--target", "x86-64-v3", "-o", "build", "--name", "classifier"]
    subprocess.run([*command, *options], cwd=folder, check=True)
    (folder / "main.c").write_text(blocks("c")[0])
    [line] = re.findall(r"^    cc (.*)$", README, flags=re.MULTILINE)
    compiler = [sys.executable, "-m", "ziglang", "cc", "-o", "main"]
    subprocess.run([*compiler, *line.split()], cwd=folder, check=True)
    if "avx2" in host_features():
        done = subprocess.run(["./main"], cwd=folder, capture_output=True, text=True, check=True)
        assert float(done.stdout)


def test_names_only_commands_that_exist():
    shown = set(re.findall(r"qcompile (check|compile|run|bench|targets|devices|demo)\b", README))
    assert shown == {"check", "compile", "run", "bench", "targets", "devices", "demo"}
