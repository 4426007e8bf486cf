from qcompile.quantizer import Widths
from qcompile.records import Database, Skipped
from qcompile.schedules.space import VERSION
from qcompile.search.latency.building import Asked
from qcompile.search.latency.kept import FILE, Kept
from tests.qcompile.search.latency.synthetic import CHOICES, Device

HERE = {"device": "local", "threads": 1}
ASKED = Asked({"one": Widths(4, 2)}, {"one": "bits"})
OTHER = Asked({"one": Widths(4, 2)}, {})
POSSIBLE = {"one": ("conv2d_bits", "conv2d_int8")}


def network():
    device = Device()
    return device.measure(device.uniform(CHOICES[0]))


def test_what_was_measured_is_found_again(tmp_path):
    Kept(tmp_path, HERE).keep(ASKED, network(), POSSIBLE)
    again = Kept(tmp_path, HERE)
    assert again.find(ASKED) == (network(), POSSIBLE)
    assert again.find(OTHER) is None


def test_other_circumstances_are_other_times(tmp_path):
    Kept(tmp_path, HERE).keep(ASKED, network(), POSSIBLE)
    assert Kept(tmp_path, HERE | {"threads": 2}).find(ASKED) is None


def test_a_cut_line_is_lost_alone(tmp_path):
    kept = Kept(tmp_path, HERE)
    kept.keep(ASKED, network(), POSSIBLE)
    kept.keep(OTHER, network(), POSSIBLE)
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes()[:-20])
    again = Kept(tmp_path, HERE)
    assert again.find(ASKED) is not None and again.find(OTHER) is None
    again.keep(OTHER, network(), POSSIBLE)
    assert Kept(tmp_path, HERE).find(OTHER) is not None


def test_records_of_kernels_lie_beside_undisturbed(tmp_path):
    Kept(tmp_path, HERE).keep(ASKED, network(), POSSIBLE)
    contents = Database(tmp_path, VERSION).load()
    assert len(contents.records) == 0 and contents.skipped == Skipped()


def test_without_a_folder_it_is_known_until_the_end():
    kept = Kept(None, HERE)
    kept.keep(ASKED, network(), POSSIBLE)
    assert kept.find(ASKED) == (network(), POSSIBLE)
