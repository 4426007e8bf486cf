"""What boards tell of their processor, and what a preflight says to it."""

import pytest

from qcompile.devices import Finished, Processor, open_device
from qcompile.devices.preflight import expect_success, preflight, warnings
from qcompile.devices.processor import read_processor
from qcompile.errors import BundleError, DeviceError

PI_4 = """\
machine aarch64
class 2
governor ondemand
governor ondemand
temperature 48312
temperature 51000
cooling 0 gpio-fan
cooling 0 thermal-cpufreq-0
throttled 50000
cpuinfo
processor\t: 0
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU part\t: 0xd08

processor\t: 1
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU part\t: 0xd08
"""
PIXEL = """\
machine aarch64
class 2
cpuinfo
processor\t: 0
Features\t: fp asimd asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd05

processor\t: 1
Features\t: fp asimd asimddp i8mm
CPU implementer\t: 0x41
CPU part\t: 0xd0b
"""
PI_4_WITH_OLD_SYSTEM = """\
machine armv7l
class 1
cpuinfo
processor\t: 0
model name\t: ARMv7 Processor rev 3 (v7l)
Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4
CPU implementer\t: 0x41
CPU part\t: 0xd08
"""


def test_reads_what_a_board_tells():
    found = read_processor(PI_4)
    assert (found.architecture, found.name, found.cores) == ("aarch64", "Cortex-A72", 2)
    assert found.features == ("neon",) and found.user_bits == 64 and found.wide
    assert found.governors == ("ondemand",) and found.temperature_c == 51.0
    assert found.limits == ()  # throttled since its start, but not now


def test_features_are_those_of_all_cores():
    found = read_processor(PIXEL)
    assert found.name == "Cortex-A55 + Cortex-A76" and found.features == ("neon", "dotprod")
    assert warnings(found) == []


def test_warns_of_what_makes_times_doubtful():
    hot = PI_4.replace("cooling 0 thermal", "cooling 2 thermal").replace("50000", "5000d")
    told = warnings(read_processor(hot))
    assert "the clock governor is ondemand" in told[0] and "echo performance" in told[0]
    assert "held down against heat (thermal-cpufreq-0) at 51 C" in told[1]
    assert [line.partition(" at")[0] for line in told[2:]] == [
        "firmware: the voltage is too low",
        "firmware: it is throttled",
        "firmware: the soft temperature limit is reached",
    ]
    [told] = warnings(read_processor(PI_4.replace("ondemand", "performance").replace("s 2", "s 1")))
    assert "32-bit ones on a 64-bit kernel" in told


class Told:
    """A device that tells the same again and again."""

    name = "board"

    def __init__(self, told: str) -> None:
        self.told = told

    def processor(self) -> Processor:
        return read_processor(self.told)


@pytest.mark.parametrize(
    ("told", "architecture", "features", "message"),
    [
        (PI_4, "aarch64", ("neon", "dotprod"), r"\(Cortex-A72\) lacks dotprod, .* without them"),
        (PI_4, "x86_64", (), "its processor is aarch64, the program is for x86_64"),
        (PI_4_WITH_OLD_SYSTEM, "aarch64", ("neon",), r"32-bit system \(armv7l\) on a 64-bit proc"),
        (PI_4.replace("aarch64", "riscv64"), "aarch64", ("neon",), "its processor is riscv64"),
        (PI_4_WITH_OLD_SYSTEM.replace(" neon", ""), "armv7", ("neon",), "lacks neon"),
    ],
)
def test_refuses_what_a_board_cannot_run(told, architecture, features, message):
    with pytest.raises(DeviceError, match=f"^board: .*{message}"):
        preflight(Told(told), architecture, features)


@pytest.mark.parametrize(
    ("told", "architecture", "features"),
    [
        (PIXEL, "aarch64", ("neon", "dotprod")),
        (PI_4, "armv7", ("neon", "vfp4")),
        (PI_4_WITH_OLD_SYSTEM, "armv7", ("neon", "vfp4")),
        (PI_4, None, ("neon",)),
    ],
)
def test_lets_a_board_run_what_it_can(told, architecture, features):
    assert preflight(Told(told), architecture, features).processor == read_processor(told)


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (132, BundleError, "an instruction that this processor lacks .SIGILL."),
        (137, BundleError, "was killed, most likely because memory ran out"),
        (126, DeviceError, "cannot be started: Exec format error"),
        (1, BundleError, "^it: Exec format error$"),
    ],
)
def test_says_how_a_program_ended(code, kind, message):
    with pytest.raises(kind, match=message):
        expect_success("it", Finished(code, "", "Exec format error\n"))


def test_this_machine_tells_too():
    with open_device("local") as device:
        found = device.processor()
        assert found.cores >= 1 and found.user_bits in (32, 64) and found.name
        assert device.shell("kill -ILL $$").code == 132


@pytest.mark.parametrize("name", ["", "board", "local:1", "qemu:", "adb:", "http://x"])
def test_tells_which_devices_there_are(name):
    with pytest.raises(DeviceError, match=r"devices are local, .*qemu, qemu:CPU, ssh://"):
        open_device(name)
