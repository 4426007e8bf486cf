"""A database of records given to `compile`: which kernels it changes, and what is said of it."""

import json
import sys
from dataclasses import replace
from importlib.resources import files

import numpy as np
import onnx
import pytest
import tvm
import tvm_ffi

from qcompile import compile, load
from qcompile.cli import main
from qcompile.commands.demo import IMAGES, NETWORKS
from qcompile.commands.manifest import read_manifest, tuned_kernels
from qcompile.commands.reference import load_reference
from qcompile.compiler import compile_model, export_bundle
from qcompile.errors import InvalidInput, InvalidRecord
from qcompile.frontend import import_onnx
from qcompile.passes.replan import replan
from qcompile.pipeline import integer_form_passes, lower_passes, own_form_passes, task_passes
from qcompile.records import Case, Database, MeasuredTarget, Versions
from qcompile.schedules import schedule
from qcompile.schedules.space import VERSION
from qcompile.schedules.tunables import TUNABLES
from qcompile.targets import host_features, load_target
from qcompile.tuning.tasks import extract_tasks
from tests.qcompile.records.record_lines import RECORD

TARGET = load_target("x86-64-v3")
OTHER = load_target("znver4")
DATA = files("qcompile") / "demo_data"
MODEL = DATA / NETWORKS["int8"]
COUNT = 20

runs_here = pytest.mark.skipif("avx2" not in host_features(), reason="needs AVX2")


@pytest.fixture(autouse=True)
def nothing_ships(monkeypatch, tmp_path):
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr("qcompile.records.shipping.FOLDER", folder)
    return folder


@pytest.fixture(scope="module")
def tasks():
    """Those of the demo's int8 network."""
    passes = [*own_form_passes(), *integer_form_passes(), *lower_passes(TARGET), *task_passes()]
    fused = tvm.transform.Sequential(passes)(import_onnx(MODEL, batch=1).mod)
    return extract_tasks(fused, TARGET)


def last_choices(task):
    """Decisions that are as far from the default as the space has them."""
    return {decision.name: decision.choices[-1] for decision in task.space.decisions}


def record_of(task, **changes):
    """The task's last choices, in half of the default's time."""
    return replace(
        RECORD,
        **{
            "operator": task.operator,
            "problem": vars(task.problem),
            "epilogue": task.epilogue,
            "decisions": last_choices(task),
            "estimate_s": 1e-3,
            "reference_s": 2e-3,
            "target": MeasuredTarget.of(TARGET),
            "versions": Versions("0.1.0", VERSION, "0.27.0"),
        }
        | changes,
    )


def write(folder, *records):
    database = Database(folder, VERSION)
    for record in records:
        database.append(record)
    return folder


def tunings(bundle):
    """What the report says of each kernel, by its layer; and of each layer, the same."""
    report = json.loads((bundle / "report.json").read_text())
    kernels = {kernel.pop("layer"): kernel for kernel in report["kernels"]}
    for kernel in kernels.values():
        assert kernel.pop("operator") in TUNABLES
    layers = {layer["name"]: layer["tuning"] for layer in report["layers"]}
    assert layers.items() <= kernels.items()
    return kernels


def compiled(folder, records=None, **options):
    compile(MODEL, TARGET, folder, batch=1, records=records, **options)
    return folder


def as_json(decisions):
    return json.loads(json.dumps(decisions))


@runs_here
def test_tuned_kernels_compute_the_same(tmp_path, tasks):
    records = write(tmp_path / "records", *(record_of(task) for task in tasks))
    bundle = compiled(tmp_path / "bundle", records)
    layers = {layer: task for task in tasks for layer in task.layers}
    assert tunings(bundle) == {
        layer: {
            "case": "tuned",
            "decisions": as_json(last_choices(layers[layer])),
            "seconds": 1e-3,
            "default_seconds": 2e-3,
            "times": "measured",
            "processor": RECORD.processor,
            "shipped": False,
        }
        for layer in layers
    }
    network, reference = load(bundle), load_reference(MODEL)
    with np.load(DATA / IMAGES) as arrays:
        images = arrays["x"][:COUNT, None, None] / np.float32(255)
    for image in images:
        [expected] = reference({"input": image})
        # Exact: the outputs are codes times a scale, and no tie is near on these images.
        np.testing.assert_array_equal(network(image), expected)


def test_compiles_what_was_measured(tmp_path, tasks, monkeypatch):
    """One task tuned, the others default: each kernel is that of `replan`, scheduled."""
    modules = []

    def capture(kernels, **options):
        modules.append(kernels)
        return export_bundle(kernels, **options)

    monkeypatch.setattr("qcompile.compiler.export_bundle", capture)
    tuned = next(task for task in tasks if task.operator == "conv2d_int8")
    compiled(tmp_path / "bundle", write(tmp_path / "records", record_of(tuned)))
    kernels = [f for f in modules[0].functions.values() if isinstance(f, tvm.tirx.PrimFunc)]

    def compiled_with(task, decisions):
        expected = schedule(replan(task.function, decisions, TARGET), TARGET)
        return any(tvm_ffi.structural_equal(f, expected, map_free_vars=True) for f in kernels)

    for task in tasks:
        assert compiled_with(task, last_choices(task)) == (task is tuned)
        assert compiled_with(task, {}) == (task is not tuned)


def test_lowers_once_where_nothing_is_chosen(tmp_path, tasks, monkeypatch):
    lowerings = []
    own = sys.modules["qcompile.lowering"].lower_chosen_passes

    def counted(*arguments):
        lowerings.append(arguments)
        return own(*arguments)

    monkeypatch.setattr("qcompile.lowering.lower_chosen_passes", counted)
    as_default = record_of(tasks[0], decisions=tasks[0].default)
    slow = [record_of(task, estimate_s=3e-3) for task in tasks[1:]]
    for number, found in enumerate(([], [as_default, *slow])):
        folder = write(tmp_path / f"records{number}", *found)
        folder.mkdir(exist_ok=True)
        compiled(tmp_path / f"bundle{number}", folder)
        assert tuned_kernels(tmp_path / f"bundle{number}").tuned == 0
    assert len(lowerings) == 2
    compiled(tmp_path / "tuned", write(tmp_path / "records", record_of(tasks[0])))
    assert len(lowerings) == 4


def test_unknown_decisions_leave_the_default(tmp_path, tasks, capfd):
    """Another name, another value, and a value of another type."""
    wrong = [{"prefetch": 4}, ["no such instruction", 3], {"a": [None]}]
    records = [record_of(task) for task in tasks]
    for number, (task, value) in enumerate(zip(tasks, wrong, strict=False)):
        name = next(iter(last_choices(task)))
        changed = value if number == 0 else {name: value}
        records[number] = record_of(task, decisions={**last_choices(task), **changed})
    folder = write(tmp_path / "records", *records)
    assert run_cli(tmp_path / "bundle", folder) == 0
    out = capfd.readouterr().out
    assert "unknown decisions: 3 of these kernels" in out and "default elsewhere" in out
    found = tunings(tmp_path / "bundle")
    for task in tasks[:3]:
        told = found.pop(task.layers[0])
        assert told["case"] == Case.UNKNOWN_DECISIONS and told["decisions"] is None
        assert told["seconds"] == told["default_seconds"] == 2e-3
    assert {each["case"] for each in found.values()} == {"tuned"}


def test_choices_are_the_spaces_own(tasks):
    """JSON of other programs has 2.0 for 2; a plan has the integer."""
    values = {d.name: d.choices[-1] for d in tasks[0].space.decisions}
    floats = {name: as_floats(value) for name, value in values.items()}
    assert json.dumps(tasks[0].space.chosen(floats)) == json.dumps(values)


def as_floats(value):
    if isinstance(value, tuple):
        return [as_floats(each) for each in value]
    return float(value) if type(value) is int else value


def test_records_of_others_do_not_count(tmp_path, tasks):
    changes = {"target": MeasuredTarget.of(OTHER)}, {"versions": Versions("1", 99, "1")}
    others = (record_of(task, **change) for task in tasks for change in changes)
    folder = write(tmp_path / "records", *others)
    found = tunings(compiled(tmp_path / "bundle", folder))
    assert {each["case"] for each in found.values()} == {Case.NO_RECORD}


def test_only_records_of_as_many_threads_count(tmp_path, tasks, capfd):
    first, second, *_ = tasks
    decided = last_choices(first) | {"chunks": "tiles"}
    folder = write(
        tmp_path / "records", record_of(first, threads=2, decisions=decided), record_of(second)
    )
    assert run_cli(tmp_path / "bundle", folder, "--threads", 2) == 0
    assert "1 of these kernels have records, but none for --threads 2" in capfd.readouterr().out
    found = tunings(tmp_path / "bundle")
    assert found[first.layers[0]]["decisions"] == as_json(decided)
    assert found[second.layers[0]]["case"] == Case.OTHER_THREADS
    assert read_manifest(tmp_path / "bundle").threads == 2


@pytest.mark.parametrize("threads", [0, 257])
def test_a_number_of_threads_that_no_pool_has_is_refused(tmp_path, threads):
    with pytest.raises(InvalidInput, match=f"threads is {threads}; 1 to 256 work"):
        compiled(tmp_path / "bundle", threads=threads)


def test_without_shipped_records_only_the_users_count(tmp_path, tasks, nothing_ships):
    first, second, *_ = tasks
    write(nothing_ships, record_of(first), record_of(second))
    bundle, records = tmp_path / "bundle", write(tmp_path / "records", record_of(first))
    compile_model(MODEL, TARGET, output=bundle, batch=1, records=records, shipped_records=False)
    found = {layer for layer, told in tunings(bundle).items() if told["case"] == "tuned"}
    assert found == set(first.layers)
    assert not any(told["shipped"] for told in tunings(bundle).values())


def test_modelled_and_shipped_records_are_said(tmp_path, tasks, nothing_ships, capfd):
    first, second, *_ = tasks
    write(nothing_ships, record_of(first), record_of(second))
    modelled = record_of(first, device="model:rpi4")
    folder = write(tmp_path / "records", modelled, record_of(second))
    assert run_cli(tmp_path / "b", folder) == 0
    kernels = sum(len(task.layers) for task in tasks)
    told = f"tuned 2 of {kernels} kernels (records {folder}), 1 by shipped records, default"
    assert told in capfd.readouterr().out
    (nothing_ships / "records.jsonl").unlink()
    assert run_cli(tmp_path / "c", folder) == 0
    assert ", 1 by a model, default elsewhere" in capfd.readouterr().out
    assert tunings(tmp_path / "c")[first.layers[0]]["times"] == "modelled"
    assert run_cli(tmp_path / "d") == 0
    assert "tuned" not in capfd.readouterr().out


def run_cli(output, records=None, *options):
    given = [] if records is None else ["--records", records]
    arguments = ["compile", MODEL, "--target", TARGET.name, "-o", output, "--batch", 1, *given]
    arguments += options
    return main([str(argument) for argument in arguments])


def test_skipped_lines_are_counted(tmp_path, tasks, capfd):
    folder = write(tmp_path / "records", *(record_of(task) for task in tasks))
    lines = [b'{"format": 1, "\x1b[31m": 0}', b"\xff\xfe", b'{"format": 2}']
    (folder / "more.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    assert run_cli(tmp_path / "bundle", folder) == 0
    out = capfd.readouterr().out
    kernels = sum(len(task.layers) for task in tasks)
    assert f"tuned {kernels} of {kernels} kernels (records {folder})\n" in out
    assert "records skipped: 2 corrupted, 1 of another version" in out
    assert f"{folder / 'more.jsonl'}:2: no JSON" in out and "\x1b" not in out


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "there is no such folder of records"), (b"", "is a file; name its folder")],
)
def test_says_what_is_wrong_with_a_database(tmp_path, capfd, content, message):
    folder = tmp_path / "records"
    if content is not None:
        folder.write_bytes(content)
    with pytest.raises(InvalidRecord, match=message):
        compile(MODEL, TARGET, tmp_path / "bundle", batch=1, records=folder)
    assert run_cli(tmp_path / "bundle", folder) == 1
    assert capfd.readouterr().err == f"qcompile: {folder}: {message}\n"
    assert not (tmp_path / "bundle").exists()


def test_variants_are_tuned_too(tmp_path, tasks):
    onnx.save(onnx.load(str(MODEL)), tmp_path / "other.onnx")
    file = tmp_path / "variants.json"
    file.write_text(json.dumps({"variants": {"other": {"model": "other.onnx"}}}))
    folder = write(tmp_path / "records", *(record_of(task) for task in tasks))
    bundle = compiled(tmp_path / "bundle", folder, variants=file)
    report = json.loads((bundle / "report.json").read_text())
    layers = report["variants"]["other"]["layers"]
    assert {layer["tuning"]["case"] for layer in layers} == {"tuned"}
    kernels = sum(len(task.layers) for task in tasks)
    assert tuned_kernels(bundle).tuned == tuned_kernels(bundle).kernels == 2 * kernels
