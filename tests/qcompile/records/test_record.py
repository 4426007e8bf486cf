"""A record and its line say the same, and a line that says something else is refused by name."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcompile.errors import InvalidRecord, OtherFormat
from qcompile.records import Failure, MeasuredTarget, Record, Versions, workload_of
from qcompile.targets import load_target
from tests.qcompile.records.record_lines import RECORD, failed

ESTIMATES = ("estimate_s", "spread", "reference_s")
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Lone surrogates: what programs print may be no UTF-8, and Python keeps it so.
    | st.text(st.characters())
    | st.sampled_from(["\udc80", '{"format": 1}']),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
mappings = st.dictionaries(st.text(), values, max_size=4)
names = st.text(min_size=1)
texts = st.lists(names, max_size=4).map(tuple)
counts = st.integers(1, 10**30)
times = st.floats(0, exclude_min=True, allow_infinity=False)
spreads = st.floats(0, allow_infinity=False)
timings = st.fixed_dictionaries(
    {
        "seconds": st.lists(times, min_size=1).map(tuple),
        "estimate_s": times,
        "spread": spreads,
        "reference_s": times,
        "failure": st.none(),
    }
)
failures = st.builds(Failure, names, st.text()).map(
    lambda failure: dict.fromkeys(("seconds", *ESTIMATES)) | {"failure": failure}
)
records = st.builds(
    lambda outcome, **others: Record(**outcome, **others),
    timings | failures,
    operator=names,
    problem=mappings,
    epilogue=texts,
    decisions=mappings,
    default=st.booleans(),
    target=st.builds(MeasuredTarget, names, names, names, texts, counts),
    device=names,
    processor=names,
    threads=counts,
    thorough=st.booleans(),
    versions=st.builds(Versions, names, counts, names),
    time=st.datetimes().map(lambda time: time.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")),
)


@given(records)
def test_lines_keep_records(record):
    line = record.to_line()
    assert line.index(b"\n") == len(line) - 1
    assert Record.from_line(line) == record
    assert Record.from_line(line).to_line() == line


@given(records, st.data())
def test_no_part_of_a_line_is_one(record, data):
    line = record.to_line().strip()
    end = data.draw(st.integers(0, len(line) - 1))
    with pytest.raises(InvalidRecord):
        Record.from_line(line[:end])


def test_lines_say_what_others_may_read():
    line = json.loads(RECORD.to_line())
    assert line == {
        "format": 1,
        "workload": RECORD.workload,
        "operator": "conv2d_int8",
        "problem": {"channels": 64, "kernel": [3, 3], "strides": [1, 1]},
        "epilogue": ["0f1e2d3c"],
        "decisions": {"tile": [4, 14, 2], "order": "weights"},
        "default": False,
        "seconds": [2e-3, 1e-3, 4e-3],
        "estimate_s": 1.5e-3,
        "spread": 0.5,
        "reference_s": 3e-3,
        "failure": None,
        "target": {
            "name": "x86-64-v3",
            "architecture": "x86_64",
            "mcpu": "x86-64-v3",
            "features": list(load_target("x86-64-v3").features),
            "vector_bytes": 32,
        },
        "device": "local",
        "processor": "AMD EPYC",
        "threads": 1,
        "thorough": False,
        "versions": {"qcompile": "0.1.0", "schedules": 3, "tvm": "0.27.0"},
        "time": "2026-11-21T14:00:00Z",
    }


def test_workloads_are_what_is_computed():
    # From sha256sum: the databases of others name their workloads so.
    assert workload_of("add", {"b": [1, 2.5], "a": None}, ["é"]) == "ca5c436ef0906b89"
    assert workload_of("add", {"a": None, "b": (1, 2.5)}, ("é",)) == "ca5c436ef0906b89"
    others = (
        replace(RECORD, operator="dense_int8"),
        replace(RECORD, problem={**RECORD.problem, "channels": 65}),
        replace(RECORD, epilogue=()),
    )
    assert len({RECORD.workload, *(other.workload for other in others)}) == 4
    assert replace(RECORD, decisions={}, threads=2).workload == RECORD.workload


CHANGES = [
    ("format", "1", "format = '1': expected 1"),
    ("format", True, "format = True: expected 1"),
    ("workload", "0123456789abcdef", f"expected {RECORD.workload}"),
    ("operator", "", "operator = '': expected text"),
    ("operator", None, "operator = None: expected text"),
    ("problem", [], r"problem = \[\]: expected an object"),
    ("problem", {}, "workload = .*: expected"),
    ("epilogue", "abc", "epilogue = 'abc': expected a list of texts"),
    ("epilogue", [1], r"epilogue = \(1,\): expected a list of texts"),
    ("decisions", None, "decisions = None: expected an object"),
    ("default", 1, "default = 1: expected true or false"),
    ("seconds", [], "seconds = .*: expected a list of finite seconds above 0"),
    ("seconds", [1e-3, 0.0], "seconds = .*: expected a list of finite seconds above 0"),
    ("seconds", [-1e-3], "seconds = .*: expected a list of finite seconds above 0"),
    ("seconds", [True], "seconds = .*: expected a list of finite seconds above 0"),
    ("seconds", 1e-3, "seconds = 0.001: expected a list of finite seconds above 0"),
    ("seconds", {"a": 1}, "seconds = .*: expected a list of finite seconds above 0"),
    ("seconds", None, "expected times or a failure"),
    ("estimate_s", 0.0, "estimate_s = 0.0: expected finite seconds above 0"),
    ("estimate_s", 1, "estimate_s = 1: expected finite seconds above 0"),
    ("estimate_s", None, "estimate_s = None: expected finite seconds above 0"),
    ("reference_s", -1e-3, "reference_s = -0.001: expected finite seconds above 0"),
    ("reference_s", None, "reference_s = None: expected finite seconds above 0"),
    ("spread", -0.1, "spread = -0.1: expected a finite number, 0.0 or above"),
    ("spread", 0, "spread = 0: expected a finite number, 0.0 or above"),
    ("spread", False, "spread = False: expected a finite number, 0.0 or above"),
    ("spread", None, "spread = None: expected a finite number, 0.0 or above"),
    ("failure", {"kind": "crash", "message": ""}, "expected times or a failure"),
    ("failure", {"kind": "crash"}, "failure: lacks message"),
    ("failure", {"kind": [], "message": ""}, r"failure.kind = \(\): expected text"),
    ("failure", {"kind": "crash", "message": None}, "failure.message = None: expected text"),
    ("failure", "crash", "failure = 'crash': expected an object"),
    ("target", {}, "target: lacks name, architecture, mcpu, features, vector_bytes"),
    ("target", None, "target = None: expected an object"),
    ("device", 0, "device = 0: expected text"),
    ("processor", "", "processor = '': expected text"),
    ("thorough", 1, "thorough = 1: expected true or false"),
    ("threads", 0, "threads = 0: expected a whole number above 0"),
    ("threads", 1.0, "threads = 1.0: expected a whole number above 0"),
    ("versions", {"qcompile": "1", "tvm": "1"}, "versions: lacks schedules"),
    ("versions", {"qcompile": "1", "schedules": "1", "tvm": "1"}, "versions.schedules = '1'"),
    ("time", "2026-11-21", "time = '2026-11-21': expected UTC"),
    ("time", "2026-13-21T14:00:00Z", "time = '2026-13-21T14:00:00Z': expected UTC"),
    ("time", 1.0, "time = 1.0: expected UTC"),
    ("best", 0.1, "the record: has unknown best"),
]


@pytest.mark.parametrize(("field", "value", "message"), CHANGES)
def test_refuses_other_values(field, value, message):
    line = json.loads(RECORD.to_line()) | {field: value}
    with pytest.raises(InvalidRecord, match=message):
        Record.from_line(json.dumps(line).encode())


@pytest.mark.parametrize("field", ESTIMATES)
def test_failures_have_no_estimates(field):
    line = json.loads(failed(1, "crash").to_line()) | {field: 0.5}
    with pytest.raises(InvalidRecord, match=f"{field} = 0.5: expected null with a failure"):
        Record.from_line(json.dumps(line).encode())


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("name", 0, "target.name = 0: expected text"),
        ("mcpu", None, "target.mcpu = None: expected text"),
        ("features", "avx2", "target.features = 'avx2': expected a list of texts"),
        ("features", [["avx2"]], "target.features = .*: expected a list of texts"),
        ("vector_bytes", True, "target.vector_bytes = True: expected a whole number"),
    ],
)
def test_refuses_other_targets(part, value, message):
    line = json.loads(RECORD.to_line())
    line["target"][part] = value
    with pytest.raises(InvalidRecord, match=message):
        Record.from_line(json.dumps(line).encode())


@pytest.mark.parametrize("field", [*json.loads(RECORD.to_line())][1:])
def test_refuses_lines_without_a_field(field):
    line = json.loads(RECORD.to_line())
    del line[field]
    with pytest.raises(InvalidRecord, match=f"the record: lacks {field}"):
        Record.from_line(json.dumps(line).encode())


def test_knows_other_formats_whatever_they_hold():
    with pytest.raises(OtherFormat, match="format = 2: expected 1"):
        Record.from_line(b'{"format": 2, "trace": []}')


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"null", b"[]", b"{}", b"\xff\xfe", b"\x00", b"{" * 9, b"[" * 500_000),
        RECORD.to_line().replace(b"0.002", b"NaN"),
        RECORD.to_line().replace(b"0.002", b"1e999"),
        RECORD.to_line().replace(b"0.003", b"1e999"),
        RECORD.to_line().replace(b'"weights"', b"-Infinity"),
        RECORD.to_line().replace(b'"weights"', b"1e999"),
        RECORD.to_line().replace(b'"weights"', b"9" * 5000),
        RECORD.to_line() * 2,
    ],
    ids=range(15),
)
def test_refuses_what_is_no_record(line):
    with pytest.raises(InvalidRecord):
        Record.from_line(line)


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": (math.nan,)},
        {"seconds": (math.inf,)},
        {"seconds": [1e-3]},
        {"estimate_s": math.nan},
        {"reference_s": math.inf},
        {"spread": math.inf},
        {"decisions": {"tile": math.nan}},
        {"problem": {"tile": {1, 2}}},
        {"threads": 0},
        {"time": "now"},
    ],
)
def test_refuses_what_no_line_can_hold(change):
    with pytest.raises(InvalidRecord, match=next(iter(change))):
        replace(RECORD, **change)
