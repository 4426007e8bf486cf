"""A bundle of one hand-written segment for an ARM board with VTA."""

from dataclasses import replace
from pathlib import Path

import pytest
from vta_modules import accelerator, module

from qcompile.export import export_bundle
from qcompile.targets import host_features, load_target

HOST = "armv7-a9"
SIMULATED = load_target("x86-64-v3")


@pytest.fixture(scope="session")
def vta_bundle(tmp_path_factory) -> Path:
    """The bundle `net`: x + 1, one segment, y - 3. Tests must not change it."""
    folder = tmp_path_factory.mktemp("vta") / "net"
    report = {"kernels": [], "layers": [], "tuning": {}}
    export_bundle(
        module(HOST),
        name="net",
        target=replace(load_target(HOST), name="vta-pynq"),
        output=folder,
        accelerator=accelerator(),
        report=report,
    )
    return folder


@pytest.fixture(autouse=True)
def runnable() -> None:
    if not SIMULATED.runs_on(host_features()):
        pytest.skip(f"this processor cannot run {SIMULATED.name}, as simulations do")
