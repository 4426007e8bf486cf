"""The file of variants: what it takes, and where it says that it is wrong."""

import json

import pytest

from qcompile.errors import InvalidInput
from qcompile.variants import read_variants


def test_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    for model in ("models/four.onnx", "two.onnx"):
        (tmp_path / model).touch()
    variants = {"depth_4": {"model": "models/four.onnx"}, "depth_2": {"model": "two.onnx"}}
    (tmp_path / "variants.json").write_text(json.dumps({"variants": variants}))
    found = {"depth_4": tmp_path / "models" / "four.onnx", "depth_2": tmp_path / "two.onnx"}
    assert read_variants(tmp_path / "variants.json") == found
    monkeypatch.chdir(tmp_path / "models")
    assert list(read_variants("../variants.json")) == ["depth_4", "depth_2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        (b"\xff", "is no JSON"),
        ("[]", r"the file: found \[\]; it has exactly the fields \['variants'\]"),
        ('{"variants": {}, "depths": 4}', r"found \['depths', 'variants'\]"),
        ('{"variants": {}}', "holds at least one"),
        ('{"variants": ["a.onnx"]}', "maps names to models"),
        ('{"variants": {"a": "a.onnx"}}', "variant 'a': found 'a.onnx'"),
        ('{"variants": {"a": {"model": "a.onnx", "bits": 2}}}', r"found \['bits', 'model'\]"),
        ('{"variants": {"a": {"model": 3}}}', "'model' is 3; a file name would work"),
        ('{"variants": {"a": {"model": "none.onnx"}}}', "none.onnx: cannot be read: No such file"),
        ('{"variants": {"a": {"model": "."}}}', "cannot be read: not a regular file"),
        ('{"variants": {"a": {"model": "x\\u0000"}}}', "cannot be read"),
        ('{"variants": {"a": {"model": "m"}, "a": {"model": "m"}}}', "found 'a' twice"),
        ('{"variants": {"a b": {"model": "m"}}}', "'a_b' would work"),
        ('{"variants": {"default": {"model": "m"}}}', "what the model itself is called"),
    ],
)
def test_says_where_the_file_is_wrong(tmp_path, content, message):
    file = tmp_path / "variants.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidInput, match=message) as caught:
        read_variants(file)
    assert str(caught.value).startswith(f"{file}: ")


def test_says_that_there_is_no_file(tmp_path):
    with pytest.raises(InvalidInput, match=r"none\.json: cannot be read: No such file"):
        read_variants(tmp_path / "none.json")
