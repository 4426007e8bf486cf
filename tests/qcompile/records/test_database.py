"""What was appended is there: after kills, between two writers, on a full disk."""

import fcntl
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from qcompile.errors import InvalidRecord, OutputError
from qcompile.records import Database, Skipped
from qcompile.records.database import FILE
from tests.qcompile.records.record_lines import RECORD, SCHEDULES, timed

PROJECT = Path(__file__).parents[3]
WRITER = """
import sys
from qcompile.records import Database
from tests.qcompile.records.record_lines import SCHEDULES, timed

database = Database(sys.argv[1], SCHEDULES)
print("ready", flush=True)
sys.stdin.readline()
for k in range(int(sys.argv[3])):
    database.append(timed(k, 1e-3, device=sys.argv[2], processor="x" * 5000))
    print(k, flush=True)
"""


def writer(folder: Path, name: str, count: int) -> subprocess.Popen:
    """A process that appends when it gets a line, and says what it has appended."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, folder, name, str(count)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def start(*processes: subprocess.Popen) -> None:
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


def tiles(folder: Path, device: str) -> list[int]:
    contents = Database(folder, SCHEDULES).load()
    return [record.decisions["tile"] for record in contents.records if record.device == device]


def test_keeps_what_is_appended(tmp_path):
    database = Database(tmp_path / "new" / "db", SCHEDULES)
    database.expect_writable()
    assert database.load().skipped == Skipped() and len(database.load().records) == 0
    records = [timed(k, 1e-3) for k in range(3)]
    for record in records:
        database.append(record)
    assert list(Database(tmp_path / "new" / "db", SCHEDULES).load().records) == records
    assert os.listdir(tmp_path / "new" / "db") == [FILE]


def test_writers_do_not_mix(tmp_path):
    processes = [writer(tmp_path, name, 500) for name in ("a", "b")]
    start(*processes)
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert [len(output.split()) for output in outputs] == [500, 500]
    for name in ("a", "b"):
        assert tiles(tmp_path, name) == list(range(500))
    assert Database(tmp_path, SCHEDULES).load().skipped == Skipped()


def test_waits_for_who_is_writing(tmp_path):
    """A writer that saw another's half line would give it an end."""
    database = Database(tmp_path, SCHEDULES)
    database.append(timed(1, 1e-3))
    waiting = threading.Thread(target=lambda: database.append(timed(2, 1e-3)))
    line = timed(3, 1e-3).to_line()
    with (tmp_path / FILE).open("ab", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(line[:100])
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        file.write(line[100:])
    waiting.join(20)
    assert tiles(tmp_path, "local") == [1, 3, 2]


def test_lines_are_on_the_disk_before_it_returns(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.stat(handle)))
    Database(tmp_path, SCHEDULES).append(RECORD)
    folder, file = synced
    assert os.path.samestat(folder, tmp_path.stat())
    assert os.path.samestat(file, (tmp_path / FILE).stat())
    assert file.st_size == len(RECORD.to_line())


def test_a_kill_loses_no_line_that_was_written(tmp_path):
    for name, survivors in (("a", 5), ("b", 40)):
        process = writer(tmp_path, name, 10**9)
        start(process)
        said = [int(process.stdout.readline()) for _ in range(survivors)]
        process.kill()
        said += [int(line) for line in process.communicate()[0].splitlines()]
        found = tiles(tmp_path, name)
        # One more may have been written than could be said.
        assert found[: len(said)] == said == list(range(len(said)))
        assert len(found) <= len(said) + 1
    Database(tmp_path, SCHEDULES).append(RECORD)
    assert RECORD in list(Database(tmp_path, SCHEDULES).load().records)


@pytest.mark.parametrize("missing", [1, 2, 300])
def test_a_cut_line_harms_no_other(tmp_path, missing):
    database = Database(tmp_path, SCHEDULES)
    database.append(timed(1, 1e-3))
    database.append(timed(2, 1e-3))
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-missing])
    database.append(timed(3, 1e-3))
    assert (tmp_path / FILE).read_bytes() == whole[:-missing] + b"\n" + timed(3, 1e-3).to_line()
    # Only its end was missing: the line is whole.
    expected = [1, 2, 3] if missing == 1 else [1, 3]
    assert tiles(tmp_path, "local") == expected
    assert database.load().skipped.corrupted == 3 - len(expected)


def test_a_full_disk_leaves_nothing_of_a_line(tmp_path):
    database = Database(tmp_path, SCHEDULES)
    database.append(timed(1, 1e-3))
    before = (tmp_path / FILE).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
    try:
        with pytest.raises(OutputError, match=f"{FILE}: cannot be written: File too large"):
            database.append(timed(2, 1e-3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / FILE).read_bytes() == before
    database.append(timed(2, 1e-3))
    assert tiles(tmp_path, "local") == [1, 2]


def test_says_that_a_database_is_a_folder(tmp_path):
    (tmp_path / "file").write_bytes(RECORD.to_line())
    database = Database(tmp_path / "file", SCHEDULES)
    for write in (database.expect_writable, lambda: database.append(RECORD)):
        with pytest.raises(OutputError, match=r"file: is a file.*name a folder"):
            write()
    with pytest.raises(InvalidRecord, match="file: is a file; name its folder"):
        database.load()
    with pytest.raises(InvalidRecord, match="none: there is no such folder of records"):
        Database(tmp_path / "none", SCHEDULES).load()
    assert (tmp_path / "file").read_bytes() == RECORD.to_line()


@pytest.fixture
def unprivileged():
    """Root may write everywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    if user == 0:
        os.seteuid(user)


@pytest.fixture
def protected(tmp_path, monkeypatch):
    """A folder with a record that nobody may change, by a path that everybody may go."""
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    Database("db", SCHEDULES).append(RECORD)
    os.chmod(f"db/{FILE}", 0o444)
    os.chmod("db", 0o555)
    yield Database("db", SCHEDULES)
    os.chmod("db", 0o755)


def test_reads_what_it_may_not_write(protected, unprivileged):
    for write in (protected.expect_writable, lambda: protected.append(RECORD)):
        with pytest.raises(OutputError, match=r"db/.*: cannot be written: Permission denied"):
            write()
    assert list(protected.load().records) == [RECORD]


def test_says_what_it_may_not_read(protected, unprivileged):
    user = os.geteuid()
    os.seteuid(os.getuid())
    os.chmod(f"db/{FILE}", 0)
    os.seteuid(user)
    contents = protected.load()
    assert contents.skipped.unreadable == (f"db/{FILE}: Permission denied",)
    assert len(contents.records) == 0


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_writes_to_regular_files_alone(tmp_path, kind):
    if kind == "pipe":
        os.mkfifo(tmp_path / FILE)
    elif kind == "device":
        (tmp_path / FILE).symlink_to("/dev/null")
    else:
        (tmp_path / FILE).mkdir()
    database = Database(tmp_path, SCHEDULES)
    for write in (database.expect_writable, lambda: database.append(RECORD)):
        with pytest.raises(OutputError, match=f"{FILE}: cannot be written: (not a reg|Is a dir)"):
            write()
    (tmp_path / "other.jsonl").write_bytes(RECORD.to_line())
    contents = database.load()
    assert contents.skipped.unreadable == (f"{tmp_path / FILE}: not a regular file",)
    assert list(contents.records) == [RECORD]


def test_sees_what_others_append_reading_it_alone(tmp_path, monkeypatch):
    reader, other = (Database(tmp_path, SCHEDULES) for _ in range(2))
    for tile in range(20):
        other.append(timed(tile, 1e-3))
    assert len(reader.load().records) == 20
    read = []
    parse = type(RECORD).from_line
    monkeypatch.setattr(type(RECORD), "from_line", lambda line: read.append(line) or parse(line))
    other.append(timed(20, 1e-3))
    (tmp_path / "copied.jsonl").write_bytes(timed(21, 1e-3).to_line())
    assert len(reader.load().records) == 22 and len(read) == 2
    assert len(reader.load().records) == 22 and len(read) == 2


def test_sees_a_line_when_it_is_whole(tmp_path):
    database, line = Database(tmp_path, SCHEDULES), RECORD.to_line()
    (tmp_path / FILE).write_bytes(line + timed(1, 1e-3).to_line()[:-9])
    assert len(database.load().records) == 1
    assert database.load().skipped.corrupted == 1
    with (tmp_path / FILE).open("ab") as file:
        file.write(timed(1, 1e-3).to_line()[-9:-1])
    assert len(database.load().records) == 2
    assert database.load().skipped == Skipped()
    with (tmp_path / FILE).open("ab") as file:
        file.write(b"\nbroken\n")
    assert database.load().skipped.examples[0].startswith(f"{tmp_path / FILE}:3: ")


@pytest.mark.parametrize("change", ["shorter", "longer", "other file", "gone"])
def test_forgets_what_files_no_longer_hold(tmp_path, change):
    database, path = Database(tmp_path, SCHEDULES), tmp_path / FILE
    for tile in range(3):
        database.append(timed(tile, 1e-3))
    assert len(database.load().records) == 3
    lines = [timed(tile, 2e-3).to_line() for tile in range(7, 11)]
    expected = [timed(tile, 2e-3) for tile in range(7, 11)]
    if change == "shorter":
        path.write_bytes(lines[0])
    elif change == "longer":
        path.write_bytes(b"".join(lines))
    elif change == "other file":
        (tmp_path / "new").write_bytes(path.read_bytes() + lines[0])
        os.replace(tmp_path / "new", path)
        expected = [*(timed(tile, 1e-3) for tile in range(3)), expected[0]]
    else:
        path.unlink()
    wanted = {"shorter": expected[:1], "gone": []}.get(change, expected)
    assert list(database.load().records) == wanted
    assert database.load().skipped == Skipped()
