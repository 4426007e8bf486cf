"""The command line with a compiler that compiles nothing: tests need its answers, not its work."""

import sys
import types

import pytest
from cli_fakes import Analysis, write_bundle

from qcompile.cli import main


@pytest.fixture
def calls(monkeypatch):
    """What the compiler was asked, with fakes in its place."""
    asked = []

    def compile_model(model, target, *, output, name, **options):
        asked.append((str(model), target.name, options))
        if options["progress"]:
            options["progress"]("kernels", 1, 2)
        write_bundle(output, name or "net")

    def analyze(model, target, *, batch, shapes, scales, progress):
        return Analysis()

    compiler = types.ModuleType("qcompile.compiler")
    compiler.compile_model, compiler.analyze = compile_model, analyze
    network = types.SimpleNamespace(run=lambda inputs: [2 * inputs["x"]])
    monkeypatch.setitem(sys.modules, "qcompile.compiler", compiler)
    monkeypatch.setattr("qcompile.bundle.load", lambda folder, **options: network)
    return asked


@pytest.fixture
def cli(capfd):
    """Run the command line: (exit code, output, messages)."""

    def run(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        return code, *capfd.readouterr()

    return run
