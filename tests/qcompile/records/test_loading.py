"""Every sound line is read, and every other is counted."""

import random
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcompile.records import Database, Skipped, shipped
from tests.qcompile.records.record_lines import RECORD, SCHEDULES, failed, timed

GOOD = [timed(1, 1e-3), timed(2, 2e-3), failed(3, "crash")]
LINES = [record.to_line() for record in GOOD]
OTHER_SCHEDULES = RECORD.to_line().replace(b'"schedules": 3', b'"schedules": 2')
OTHER_TVM = RECORD.to_line().replace(b'"tvm": "0.27.0"', b'"tvm": "0.28.0"')
OTHER_FORMAT = b'{"format": 2, "anything": null}\n'


def load(folder):
    return Database(folder, SCHEDULES).load()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("prefixes")


@settings(deadline=None)
@given(st.integers(0, sum(map(len, LINES))))
def test_any_prefix_holds_its_whole_lines(folder, length):
    content = b"".join(LINES)[:length]
    (folder / "prefix.jsonl").write_bytes(content)
    ends = [sum(map(len, LINES[: k + 1])) for k in range(3)]
    # Without its last byte, the end of the line, a record is as good.
    whole = sum(length >= end - 1 for end in ends)
    contents = load(folder)
    assert list(contents.records) == GOOD[:whole]
    cut = length not in (0, *ends, *(end - 1 for end in ends))
    assert contents.skipped.corrupted == cut


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 3), st.booleans())
def test_bytes_between_lines_harm_none(folder, noise, place, own_line):
    lines = [*LINES[:place], noise + b"\n" * own_line, *LINES[place:]]
    (folder / "prefix.jsonl").write_bytes(b"".join(lines))
    assert list(load(folder).records) == GOOD


def test_counts_what_it_skips(tmp_path):
    broken = [LINES[0][:50] + b"\n", b"\x00\xff\xfe\n", b"[]\n", b"{}\n"]
    lines = [*LINES, OTHER_SCHEDULES, OTHER_FORMAT, OTHER_TVM, *broken, LINES[1], b"\n", b"  \n"]
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines))
    (tmp_path / "notes.txt").write_bytes(RECORD.to_line())
    contents = load(tmp_path)
    assert len(contents.records) == 4
    skipped = contents.skipped
    assert (skipped.corrupted, skipped.other_version) == (4, 2)
    assert (skipped.repeated, skipped.empty) == (1, 2)
    places = [example.split(": ")[0] for example in skipped.examples]
    assert places == [f"{tmp_path / 'a.jsonl'}:{line}" for line in (7, 8, 9, 10)]
    assert "expected an object" in skipped.examples[2]
    assert str(skipped).splitlines() == [
        "records skipped: 4 corrupted, 2 of another version",
        *(f"  {example}" for example in skipped.examples),
    ]


def test_says_nothing_of_what_loses_nothing(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\n\n" + LINES[0] * 2)
    contents = load(tmp_path)
    assert contents.skipped == Skipped(repeated=1, empty=2) and str(contents.skipped) == ""
    assert list(contents.records) == GOOD[:1]


def test_other_qcompile_and_tvm_versions_are_used(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(OTHER_TVM.replace(b"0.1.0", b"9.0"))
    assert [record.versions.tvm for record in load(tmp_path).records] == ["0.28.0"]


def test_huge_and_binary_files_end(tmp_path):
    noise = random.Random(0).randbytes(2_000_000)
    (tmp_path / "binary.jsonl").write_bytes(noise)
    (tmp_path / "huge.jsonl").write_bytes(LINES[0] + b"x" * 3_000_000 + b"\n" + LINES[1])
    (tmp_path / "endless.jsonl").write_bytes(LINES[2] + b"[" * 3_000_000)
    corrupted = 2 + sum(line.strip() != b"" for line in noise.split(b"\n"))
    database = Database(tmp_path, SCHEDULES)
    for _ in range(2):
        contents = database.load()
        assert sorted(record.decisions["tile"] for record in contents.records) == [1, 2, 3]
        assert contents.skipped.corrupted == corrupted
    assert len(contents.skipped.examples) == 5
    assert str(contents.skipped).endswith(f"… and {corrupted - 5} more")


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_appended_files_are_databases_merged(tmp_path, cut):
    """Also where the first has lost its last end, or more."""
    first = b"".join([*LINES, RECORD.to_line()])[: -cut or None]
    (tmp_path / "all.jsonl").write_bytes(first + OTHER_TVM + LINES[1] + timed(9, 1.0).to_line())
    contents = load(tmp_path)
    expected = [
        *LINES,
        *([RECORD.to_line()] if cut < 2 else []),
        OTHER_TVM,
        timed(9, 1.0).to_line(),
    ]
    found = [record.to_line() for record in contents.records]
    assert sorted(found) == sorted(expected)
    assert contents.skipped.repeated == 1 and contents.skipped.corrupted == (cut > 1)


def test_copied_files_are_databases_merged(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder, records in ((ours, GOOD[:2]), (theirs, GOOD[1:])):
        for record in records:
            Database(folder, SCHEDULES).append(record)
    shutil.copy(theirs / "records.jsonl", ours / "theirs.jsonl")
    contents = load(ours)
    assert list(contents.records) == GOOD and contents.skipped == Skipped(repeated=1)


def test_keeps_measurements_of_one_candidate_apart(tmp_path):
    later = timed(1, 1e-3, time="2026-11-22T14:00:00Z")
    (tmp_path / "a.jsonl").write_bytes(LINES[0] + later.to_line())
    assert list(load(tmp_path).records) == [GOOD[0], later]


def test_ships_no_corrupted_lines():
    assert shipped(SCHEDULES).skipped.corrupted == 0


def test_reads_what_ships(tmp_path, monkeypatch):
    (tmp_path / "zen4.jsonl").write_bytes(LINES[0])
    monkeypatch.setattr("qcompile.records.shipping.FOLDER", tmp_path)
    assert list(shipped(SCHEDULES).records) == GOOD[:1]
