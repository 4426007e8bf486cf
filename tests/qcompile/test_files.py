"""Where files are written, and what is left alone."""

import os
import threading

import pytest

from qcompile.errors import OutputError
from qcompile.files import expect_writable, make_folder, write_whole


def test_replaces_files_whole(tmp_path):
    for content in (b"first", b"second"):
        write_whole(tmp_path / "answer", content)
        assert (tmp_path / "answer").read_bytes() == content
    assert os.listdir(tmp_path) == ["answer"]


def test_follows_links(tmp_path):
    (tmp_path / "link").symlink_to("answer")
    write_whole(tmp_path / "link", b"content")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "answer").read_bytes() == b"content"


def test_writes_to_pipes_as_they_are(tmp_path):
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, b"content")
    reader.join(20)
    assert found == [b"content"] and pipe.is_fifo()


def test_leaves_devices_devices(tmp_path):
    # Through a link: were it replaced, the machine would lose its device.
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="full: cannot be written: No space left on device"):
        write_whole(tmp_path / "full", b"content")
    assert (tmp_path / "full").is_char_device()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("", "is a folder; name a file"),
        ("none/answer", "there is no folder"),
        ("file/answer", "there is no folder|Not a directory"),
        ("x" * 300, "File name too long"),
    ],
)
def test_says_where_nothing_can_be_written(tmp_path, place, message):
    (tmp_path / "file").touch()
    for ask in (expect_writable, lambda path: write_whole(path, b"")):
        with pytest.raises(OutputError, match=message):
            ask(tmp_path / place)
    assert os.listdir(tmp_path) == ["file"]


def test_says_where_no_folder_can_be_made(tmp_path):
    (tmp_path / "file").touch()
    for place in ("file", "file/inner"):
        with pytest.raises(OutputError, match=f"{place}: .*(file|directory)"):
            make_folder(tmp_path / place)
    make_folder(tmp_path / "new" / "inner")
    make_folder(tmp_path / "new" / "inner")
    assert (tmp_path / "new" / "inner").is_dir()
