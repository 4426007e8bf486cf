"""Files of boards: what is read, and the message for each way one can be wrong."""

import re

import pytest

from qcompile.errors import DoesNotFit, NotEncodable, UnknownTarget, Unsupported
from qcompile.targets import load_target
from qcompile.targets.loader import FOLDER


def changed(tmp_path, old, new):
    text = (FOLDER / "vta-ultra96.toml").read_text()
    assert old in text
    path = tmp_path / "board.toml"
    path.write_text(text.replace(old, new))
    return str(path)


def test_reads_a_file_of_the_users(tmp_path):
    board = load_target(changed(tmp_path, "LOG_WGT_BUFF_SIZE = 18", "LOG_WGT_BUFF_SIZE = 16"))
    assert (board.name, board.config.wgt_bits) == ("board", 8)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("port_bytes = 16", "port_bytes = 12", "port_bytes = 12: expected one of 8, 16"),
        ("port_bytes = 16", "port_bytes = true", "port_bytes = True: expected one of 8, 16"),
        ("port_bytes = 16", "", "field 'port_bytes' is missing"),
        ("port_bytes = 16", "port_bits = 128", "unknown field 'port_bits'; did you mean"),
        ("clock_hz = 333e6", "clock_hz = -1", "clock_hz = -1: expected a positive number"),
        ('part = "xczu3eg"', "part = 3", "part = 3: expected a name"),
        ('host = "rpi3"', 'host = "rpi33"', "no target 'rpi33'; did you mean 'rpi3'?"),
        ('host = "rpi3"', 'host = "vta-pynq"', "a processor is needed here"),
        ('source = "VTA', 'source = ""  # "VTA', "expected where the facts come from"),
        ("[vta]", "[vta.config]", "missing"),
        ('design = "hls"', 'design = "hsl"', "design = 'hsl': expected hls or rtl"),
        ("address = 0xA000_0000", "address = 0xA000_0010", "expected a multiple of 4096"),
        ("memory_window = 0", "", "field of registers 'memory_window' is missing"),
    ],
)
def test_says_what_is_wrong_with_a_file(tmp_path, old, new, message):
    with pytest.raises((UnknownTarget, Unsupported), match=re.escape(message)) as error:
        load_target(changed(tmp_path, old, new))
    assert "board.toml" in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("LOG_BLOCK = 4", "", "LOG_BLOCK is missing"),
        ("LOG_BLOCK = 4", "LOG_BLOCK = '4'", "LOG_BLOCK is '4'"),
    ],
)
def test_says_what_is_wrong_with_a_configuration(tmp_path, old, new, message):
    with pytest.raises(Unsupported, match=re.escape(message)) as error:
        load_target(changed(tmp_path, old, new))
    assert "board.toml" in str(error.value)


def test_refuses_what_cannot_be_encoded(tmp_path):
    path = changed(tmp_path, "LOG_ACC_BUFF_SIZE = 17", "LOG_ACC_BUFF_SIZE = 22")
    with pytest.raises(NotEncodable, match=r"board\.toml: "):
        load_target(path)


def test_refuses_what_its_part_does_not_hold(tmp_path):
    path = changed(tmp_path, "LOG_BLOCK = 4", "LOG_BLOCK = 5")
    with pytest.raises(DoesNotFit, match=r"board\.toml: .* on xczu3eg; the nearest that fits is"):
        load_target(path)
