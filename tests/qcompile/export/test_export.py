"""Bundles of small modules, run in process and compared with NumPy."""

import ctypes
import subprocess
import threading
from dataclasses import replace

import numpy as np
import pytest
from export_modules import (
    DEPTH,
    ROWS,
    build,
    classifier,
    classify,
    many_outputs,
    many_results,
    row_sums,
    tensor,
)
from tvm import relax
from tvm.relax import op

from qcompile.bundle import Bundle, load
from qcompile.errors import BundleError, ToolchainError, Unsupported
from qcompile.export import export_bundle
from qcompile.export.folder import is_bundle
from qcompile.export.toolchain import Toolchain
from qcompile.targets import Target, host_features, host_target, load_target
from qcompile.targets.x86 import X86_64


def runnable(name: str) -> Target:
    target = host_target() if name == "host" else load_target(name)
    if not target.runs_on(host_features()):
        pytest.skip(f"this processor cannot run {name}")
    return target


@pytest.fixture(scope="module", params=["x86-64-v3", "host"])
def target(request):
    return runnable(request.param)


@pytest.fixture(scope="module")
def classifier_folder(target, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier") / "bundle"
    export_bundle(classifier(), name="classifier", target=target, output=folder)
    return folder


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_runs_on_any_number_of_threads(classifier_folder, threads):
    bundle = load(classifier_folder, threads=threads)
    rng = np.random.default_rng(threads)
    for _ in range(50):
        x = rng.standard_normal((1, ROWS, DEPTH), dtype="float32")
        # 24 products and an exponential in float32: errors of some 1e-6 of the largest.
        np.testing.assert_allclose(bundle(x), classify(x), rtol=2e-5, atol=1e-7)


def test_threads_of_the_program_run_at_once(classifier_folder):
    bundle = load(classifier_folder, threads=2)
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((3, 100, 1, ROWS, DEPTH), dtype="float32")
    alone = load(classifier_folder)
    expected = [[alone(x) for x in xs] for xs in inputs]
    found: list[list[np.ndarray]] = [[], [], []]

    def run(k: int) -> None:
        found[k] = [bundle(x) for x in inputs[k]]

    workers = [threading.Thread(target=run, args=(k,)) for k in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    np.testing.assert_array_equal(found, expected)


def test_outputs_may_be_inputs_constants_and_doubles(target, tmp_path):
    export_bundle(many_outputs(), name="many", target=target, output=tmp_path / "bundle")
    x, y = np.random.default_rng(1).integers(-99, 99, (2, 4, 6), dtype="int32")
    results = load(tmp_path / "bundle")(x=x, y=y)
    for result, expected in zip(results, many_results(x, y), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_large_buffers_of_a_loop_belong_to_its_thread(target, tmp_path):
    export_bundle(row_sums(), name="rows", target=target, output=tmp_path / "bundle")
    x = np.random.default_rng(2).integers(-999, 999, (5, 3000), dtype="int32")
    for threads in (1, 2, 3):
        bundle = load(tmp_path / "bundle", threads=threads)
        for _ in range(20):
            np.testing.assert_array_equal(bundle(x), (3 * x + 1).sum(1))


def test_neither_addresses_nor_the_workspace_matter(classifier_folder):
    bundle = load(classifier_folder)
    x = np.random.default_rng(3).standard_normal((1, ROWS, DEPTH), dtype="float32")
    expected = bundle(x)
    for shift in (1, 4, 17):
        bundle._workspace()[:] = 0xFF  # NaN in every float
        memory = np.zeros(x.nbytes + shift, "uint8")
        shifted = memory[shift:].view("uint8")
        shifted[:] = x.view("uint8").reshape(-1)
        result = np.zeros(expected.nbytes + shift, "uint8")[shift:]
        status = run_at(bundle, shifted.ctypes.data, result.ctypes.data)
        assert status == 0
        np.testing.assert_array_equal(result.tobytes(), expected.tobytes())


def run_at(bundle: Bundle, *addresses: int) -> int:
    pointers = [*addresses, bundle._workspace().ctypes.data]
    return bundle._run(*map(ctypes.c_void_p, pointers))


def test_refuses_null_pointers_and_a_crooked_workspace(classifier_folder):
    bundle = load(classifier_folder)
    x, y = (np.zeros(ROWS * n, "float32").ctypes.data for n in (DEPTH, 40))
    assert run_at(bundle, 0, y) == -1
    assert run_at(bundle, x, 0) == -1
    assert bundle._run(*map(ctypes.c_void_p, (x, y, 0))) == -1
    crooked = bundle._workspace().ctypes.data + 32
    assert bundle._run(*map(ctypes.c_void_p, (x, y, crooked))) == -3
    with pytest.raises(BundleError, match="threads"):
        bundle.set_threads(257)


def test_refuses_a_processor_that_lacks_an_instruction_set(tmp_path):
    lacking = [f for f in ("avx512fp16", "avxvnni", "avx512vnni") if f not in host_features()]
    if not lacking:
        pytest.skip("this processor has everything")
    base = load_target("x86-64-v3")
    target = replace(base, features=(*base.features, lacking[0]))
    export_bundle(many_outputs(), name="many", target=target, output=tmp_path / "bundle")
    with pytest.raises(BundleError, match="lacks"):
        load(tmp_path / "bundle")


def test_equal_functions_share_a_kernel(tmp_path):
    def body(bb, x):
        for k in range(3):
            x = bb.emit(
                op.nn.relu(bb.emit(op.matmul(x, relax.const(np.eye(8, dtype="float32") - k))))
            )
        return [x]

    messages: list[str] = []
    export_bundle(
        build([tensor("x", (2, 8))], body),
        name="chain",
        target=load_target("x86-64-v3"),
        output=tmp_path / "bundle",
        progress=messages.append,
    )
    assert messages[0] == "compiling 1 kernels for 3 calls"


def test_replaces_bundles_only(tmp_path):
    target = load_target("x86-64-v3")
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in ("first", "second"):
        export_bundle(many_outputs(), name=name, target=target, output=folder)
        assert load(folder).name == name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.jpg").touch()
    with pytest.raises(BundleError, match="other files"):
        export_bundle(many_outputs(), name="x", target=target, output=tmp_path / "other")
    assert not is_bundle(tmp_path / "other")
    with pytest.raises(BundleError, match=r"photo\.jpg is a file; choose another folder"):
        export_bundle(
            many_outputs(), name="x", target=target, output=tmp_path / "other/photo.jpg/new/x"
        )
    with pytest.raises(BundleError, match="cannot be written"):
        export_bundle(many_outputs(), name="x", target=target, output="/proc/bundle")


def test_a_network_may_do_nothing(tmp_path):
    def body(bb, x):
        return [bb.emit(op.reshape(x, (6,)))]

    target = runnable("x86-64-v3")
    mod = build([tensor("x", (2, 3))], body)
    result = export_bundle(mod, name="none", target=target, output=tmp_path / "bundle")
    assert result.manifest["workspace_bytes"] == 64
    x = np.arange(6, dtype="float32").reshape(2, 3)
    np.testing.assert_array_equal(load(tmp_path / "bundle")(x), x.reshape(6))
    subprocess.run([tmp_path / "bundle" / "bin" / "none_bench", "--per-layer"], check=True)


def test_refuses_operators_that_are_no_kernels(tmp_path):
    builder = relax.BlockBuilder()
    x = tensor("x", (2, 3))
    with builder.function("main", [x]):
        with builder.dataflow():
            output = builder.emit_output(op.nn.relu(x))
        builder.emit_func_output(output)
    with pytest.raises(Unsupported, match=r"relax.nn.relu was not lowered"):
        export_bundle(builder.get(), name="x", target=host_target(), output=tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_compiler_that_fails_is_told(tmp_path):
    (tmp_path / "bad.c").write_text("int x = y;\n")
    with pytest.raises(ToolchainError, match="undeclared identifier 'y'"):
        Toolchain(X86_64, tmp_path, print).compile("bad.c", "bad.o")


@pytest.mark.parametrize(("end", "told"), [("kill -BUS $$", "SIGBUS"), ("exit 3", "code 3")])
def test_a_compiler_that_ends_silently_is_told(tmp_path, monkeypatch, end, told):
    (tmp_path / "zig").write_text(f"#!/bin/sh\n{end}\n")
    (tmp_path / "zig").chmod(0o755)
    monkeypatch.setattr("qcompile.export.toolchain._zig_path", lambda: str(tmp_path / "zig"))
    with pytest.raises(ToolchainError, match=f"zig cc failed:\n.*{told}.*disk full"):
        Toolchain(X86_64, tmp_path, print).compile("x.c", "x.o")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("warning: /lib/x.zig: NoSpaceLeft", "or of .* is full: make"),
        ("odd", r"\(980 more lines\)"),
    ],
)
def test_a_thousand_lines_of_a_compiler_are_condensed(tmp_path, monkeypatch, line, told):
    (tmp_path / "zig").write_text(f"#!/bin/sh\nyes '{line}' | head -n 1000 >&2\nexit 1\n")
    (tmp_path / "zig").chmod(0o755)
    monkeypatch.setattr("qcompile.export.toolchain._zig_path", lambda: str(tmp_path / "zig"))
    with pytest.raises(ToolchainError, match=told) as raised:
        Toolchain(X86_64, tmp_path, print).compile("x.c", "x.o")
    assert len(str(raised.value).splitlines()) < 25


def test_a_cache_that_cannot_be_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ToolchainError, match=r"file/qcompile/zig: cannot be made.*XDG_CACHE_HOME"):
        Toolchain(X86_64, tmp_path, print).compile("x.c", "x.o")


def test_a_failed_export_leaves_the_bundle_that_was_there(tmp_path, monkeypatch):
    target = load_target("x86-64-v3")
    export_bundle(many_outputs(), name="first", target=target, output=tmp_path / "bundle")

    def fail(self, *arguments: str) -> None:
        raise ToolchainError("no zig")

    monkeypatch.setattr(Toolchain, "link_program", fail)
    with pytest.raises(ToolchainError):
        export_bundle(many_outputs(), name="second", target=target, output=tmp_path / "bundle")
    assert load(tmp_path / "bundle").name == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
