"""Bundles of several networks: one block of weights, kernels that they share, entry points in C."""

import json
import subprocess

import numpy as np
import pytest
from export_modules import build, row_sums, tensor
from test_c_programs import TARGET, bench, compiled, expect_runnable
from tvm import relax
from tvm.relax import op

from qcompile.bundle import load
from qcompile.errors import InvalidInput
from qcompile.export import export_bundle
from qcompile.export.elf import read_symbols

ALIGNMENT = 64
WEIGHTS = np.random.default_rng(5).integers(-9, 9, (3, 16, 16), dtype="int32")
BIASES = {"default": [1, 2, 3], "shallow": [4, 5], "tiny": [6]}
ROWS = {"default": 8, "shallow": 8, "tiny": 3}


def network(variant: str):
    """x (rows, 16) times the last of WEIGHTS, as many as there are BIASES, each plus its bias."""

    def body(bb, x):
        biases = BIASES[variant]
        for w, b in zip(WEIGHTS[-len(biases) :], biases, strict=True):
            x = bb.emit(op.matmul(x, relax.const(w)))
            x = bb.emit(op.add(x, relax.const(np.full(16, b, "int32"))))
        return [x]

    return build([tensor("x", (ROWS[variant], 16), "int32")], body)


def expected(variant: str, x: np.ndarray) -> np.ndarray:
    biases = BIASES[variant]
    for w, b in zip(WEIGHTS[-len(biases) :], biases, strict=True):
        x = x @ w + b
    return x


def draw(variant: str) -> np.ndarray:
    rng = np.random.default_rng(ROWS[variant])
    return rng.integers(-9, 9, (ROWS[variant], 16), dtype="int32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The bundle `net` of the variants; messages.txt holds what was told on the way."""
    folder = tmp_path_factory.mktemp("variants")
    messages: list[str] = []
    export_bundle(
        network("default"),
        name="net",
        target=TARGET,
        output=folder / "net",
        variants={"shallow": network("shallow"), "tiny": network("tiny")},
        progress=messages.append,
    )
    (folder / "messages.txt").write_text("\n".join(messages))
    return folder


def test_every_variant_is_the_network_it_is_alone(folder, tmp_path):
    expect_runnable()
    bundle = load(folder / "net", threads=2)
    for variant in BIASES:
        x = draw(variant)
        export_bundle(network(variant), name="alone", target=TARGET, output=tmp_path / "alone")
        for found in (
            bundle.variant(variant)(x),
            load(folder / "net", variant=variant)(x),
            load(tmp_path / "alone")(x),
        ):
            np.testing.assert_array_equal(found, expected(variant, x))
    np.testing.assert_array_equal(bundle(draw("default")), expected("default", draw("default")))


def test_equal_weights_are_stored_and_equal_kernels_compiled_once(folder):
    manifest = json.loads((folder / "net" / "manifest.json").read_text())
    weights, biases = WEIGHTS[0].nbytes, 16 * 4
    assert weights % ALIGNMENT == biases % ALIGNMENT == 0
    assert manifest["weight_bytes"] == 3 * weights + (3 + 2 + 1) * biases
    alone = {v["name"]: v["weight_bytes_alone"] for v in manifest["variants"]}
    assert alone == {name: len(b) * (weights + biases) for name, b in BIASES.items()}
    # Two sizes of data, and one kernel for each.
    assert "compiling 2 kernels for 6 calls" in (folder / "messages.txt").read_text()


def test_the_manifest_tells_of_every_variant(folder):
    manifest = json.loads((folder / "net" / "manifest.json").read_text())
    variants = manifest["variants"]
    assert [v["name"] for v in variants] == list(BIASES)
    assert [v["entry"] for v in variants] == ["net_run", "net_shallow_run", "net_tiny_run"]
    assert [v["inputs"][0]["shape"] for v in variants] == [[8, 16], [8, 16], [3, 16]]
    assert manifest["inputs"] == variants[0]["inputs"]
    assert manifest["workspace_bytes"] == max(v["workspace_bytes"] for v in variants)
    assert variants[2]["workspace_bytes"] < manifest["workspace_bytes"]


def test_a_bundle_of_one_network_has_no_variants(tmp_path):
    export_bundle(network("tiny"), name="one", target=TARGET, output=tmp_path / "one")
    assert "variants" not in json.loads((tmp_path / "one" / "manifest.json").read_text())
    expect_runnable()
    assert bench(tmp_path, "one", "--variant", "tiny").returncode == 2
    with pytest.raises(InvalidInput, match=r"no variant 'tiny'; there are: none; .*--variants"):
        load(tmp_path / "one", variant="tiny")


def test_variants_share_the_threads_and_their_memory(tmp_path):
    """Of a network whose threads need 12,000 bytes each, and of one that needs none."""
    expect_runnable()
    for first, second in ((row_sums(), network("tiny")), (network("tiny"), row_sums())):
        export_bundle(
            first,
            name="net",
            target=TARGET,
            output=tmp_path / "net",
            variants={"second": second},
        )
        bundle = load(tmp_path / "net", threads=3)
        x = np.random.default_rng(2).integers(-999, 999, (5, 3000), dtype="int32")
        for _ in range(20):
            for each in (bundle, bundle.variant("second")):
                if each.inputs[0].shape == x.shape:
                    np.testing.assert_array_equal(each(x), (3 * x + 1).sum(1))
                else:
                    found = each(draw("tiny"))
                    np.testing.assert_array_equal(found, expected("tiny", draw("tiny")))


PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include "net.h"

int main(void) {
    static int32_t x[net_x_LENGTH], y[net_output_0_LENGTH], z[net_tiny_output_0_LENGTH];
    void *memory = NULL, *small = NULL;
    int failures = posix_memalign(&memory, 64, net_WORKSPACE_BYTES) != 0;
    failures += posix_memalign(&small, 64, net_tiny_WORKSPACE_BYTES) != 0;
    for (int k = 0; k < net_x_LENGTH; ++k) x[k] = 1;
    for (int threads = 1; threads <= 2; ++threads) {
        failures += net_set_threads(threads) != net_OK;
        failures += net_run(x, y, memory) != net_OK;
        failures += net_tiny_run(x, z, small) != net_OK;
        failures += net_shallow_run(NULL, y, memory) != net_ERROR_NULL_POINTER;
    }
    printf("%d %d %d %d\\n", failures, (int)y[0], (int)z[0], net_tiny_x_LENGTH);
    free(memory), free(small);
    return net_set_threads(1);
}
"""


def test_a_c_program_runs_two_variants(folder, tmp_path):
    expect_runnable()
    source = tmp_path / "two.c"
    source.write_text("#define _POSIX_C_SOURCE 200809L\n" + PROGRAM)
    program = compiled("gcc", source, tmp_path / "two", folder, "net")
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    ones = {variant: np.ones((ROWS[variant], 16), "int32") for variant in BIASES}
    first = [expected(variant, ones[variant])[0, 0] for variant in ("default", "tiny")]
    assert done.stdout == f"0 {first[0]} {first[1]} {3 * 16}\n"


def test_the_header_is_one_for_c_plus_plus(folder, tmp_path):
    source = tmp_path / "only.cc"
    source.write_text('#include "net.h"\nint main() { return net_OK; }\n')
    compiled("g++", source, tmp_path / "only", folder, "net")


def test_the_library_gives_the_entries_of_all(folder):
    library = (folder / "net" / "lib" / "libnet.so").read_bytes()
    given = {s.name for s in read_symbols(library, "dynamic") if s.defined}
    entries = {"net_run", "net_shallow_run", "net_tiny_run"}
    assert given == entries | {f"net_{f}" for f in ("error", "set_threads", "threads", "set_spin")}


def test_the_bench_program_runs_each_variant(folder, tmp_path):
    for variant in BIASES:
        draw(variant).tofile(tmp_path / "x")
        files = ("--input", tmp_path / "x", "--output", tmp_path / "y", "--json", "--per-layer")
        done = bench(folder, "net", "--variant", variant, *map(str, files), "--repeat", "3")
        told = json.loads(done.stdout)
        assert told["variant"] == variant and len(told["layers"]) == len(BIASES[variant])
        y = np.fromfile(tmp_path / "y", "int32").reshape(ROWS[variant], 16)
        np.testing.assert_array_equal(y, expected(variant, draw(variant)))
    assert bench(folder, "net", "--repeat", "3").stdout.startswith("net, default: 3 runs")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--variant", "huge"], "found huge, there are default shallow tiny"),
        (["--variant"], "found none, there are default"),
        (["--input", "a", "--variant", "tiny", "--input", "b"], "more files than arrays: --input"),
    ],
)
def test_the_bench_program_says_what_is_wrong(folder, options, text):
    done = bench(folder, "net", *options)
    assert done.returncode == 2 and text in done.stderr


def test_refuses_variants_that_are_not_there(folder):
    expect_runnable()
    with pytest.raises(InvalidInput, match="no variant 'huge'; there are: default, shallow, tiny"):
        load(folder / "net", variant="huge")
    with pytest.raises(InvalidInput, match="no variant 'huge'"):
        load(folder / "net").variant("huge")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("default", "is what the model itself is called"),
        ("4 bits", "'n4_bits' would work"),
        ("int", "'int_' would work"),
        ("", "'tensor' would work"),
    ],
)
def test_refuses_names_that_c_cannot_have(tmp_path, name, message):
    with pytest.raises(InvalidInput, match=message):
        export_bundle(
            network("default"),
            name="net",
            target=TARGET,
            output=tmp_path / "net",
            variants={name: network("tiny")},
        )
    assert list(tmp_path.iterdir()) == []


def test_refuses_names_that_two_arrays_would_have(tmp_path):
    def body(bb, x):
        return [bb.emit(op.add(x, x))]

    clash = build([tensor("tiny_x", (2, 2))], body)
    with pytest.raises(InvalidInput, match=r"'tiny': its 'x' is net_tiny_x in C.*'default'"):
        export_bundle(
            clash,
            name="net",
            target=TARGET,
            output=tmp_path / "net",
            variants={"tiny": network("tiny")},
        )
