"""An Android device that is a script: adb's commands, and the shell of this machine."""

import os

import numpy as np
import pytest

from qcompile import run
from qcompile.devices import list_devices, open_device
from qcompile.errors import DeviceError, DeviceLost

# As the adb of older systems: no exit codes, and line ends of a terminal.
ADB = """\
#!/bin/sh
root='{root}'
there() {{ printf '%s' "$1" | sed "s|/data/local/tmp|$root/data|g"; }}
if [ "$1" = devices ]; then
    printf 'List of devices attached\\nR58\\tdevice\\nZZ9\\tunauthorized\\n\\n'
    exit
fi
[ "$1 $2" = "-s R58" ] || {{ echo "adb: called with $*" >&2; exit 1; }}
if [ -e "$root/unplugged" ]; then echo "adb: device 'R58' not found" >&2; exit 1; fi
case "$3" in
    push) cp "$4" "$(there "$5")" ;;
    pull) cp "$(there "$4")" "$5" ;;
    shell) sh -c "$(there "$4")" | sed "s|$root/data|/data/local/tmp|g; s/\\$/\\r/" ;;
esac
"""


@pytest.fixture
def phone(tmp_path_factory, monkeypatch):
    root = tmp_path_factory.mktemp("phone")
    (root / "data").mkdir()
    program = root / "adb"
    program.write_text(ADB.format(root=root))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{root}{os.pathsep}{os.environ['PATH']}")
    return root


def test_runs_samples_and_leaves_nothing(phone, sums, samples):
    file, expected = samples
    found = run(sums, file, device="adb:R58")
    for name, array in expected.items():
        np.testing.assert_array_equal(found.outputs[name], array)
    assert list((phone / "data").iterdir()) == []


def test_takes_files_and_runs_scripts(phone):
    with open_device("adb:R58") as device:
        device.send("x", b"\0\r\n\xff" * 1000)
        assert device.fetch("x") == b"\0\r\n\xff" * 1000
        assert device.shell("echo hello; exit 3").code == 3
        assert device.shell("echo hello").output == "hello\n"
        assert str(device.folder).startswith("/data/local/tmp/")
        with pytest.raises(DeviceError, match=r"adb pull: .*nothing"):
            device.fetch("nothing")


def test_tells_that_it_was_unplugged(phone):
    with open_device("adb:R58") as device:
        (phone / "unplugged").touch()
        for use in (lambda: device.shell("true"), lambda: device.send("x", b"1")):
            with pytest.raises(DeviceLost, match=r"adb:R58: .*device 'R58' not found"):
                use()


def test_tells_what_to_do(phone):
    with pytest.raises(DeviceError, match="it is unauthorized: allow debugging on its screen"):
        open_device("adb:ZZ9")
    with pytest.raises(DeviceError, match=r"no such device \(there are: adb:R58, adb:ZZ9\)"):
        open_device("adb:other")


def test_lists_what_is_plugged_in(phone):
    found = {entry.name: entry.reachable for entry in list_devices()}
    assert found["adb:R58"] is True and found["adb:ZZ9"] is False


def test_tells_that_there_is_no_adb(monkeypatch, tmp_path):
    (tmp_path / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="there is no adb on this machine; `apt-get"):
        open_device("adb:R58")
