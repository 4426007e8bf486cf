"""Alternating measurement, with contenders whose times are known."""

import importlib.util
import sys
import time

import numpy as np
import pytest

from qcompile.arrays import TensorSpec
from qcompile.commands.peer_worker import sample
from qcompile.commands.peers import Peer, PeerFailed
from qcompile.commands.race import LEAST_INFERENCES, LostInRace, percentile, race
from qcompile.errors import DeviceLost, MissingPackage


class Fake:
    """A contender that takes what `seconds` says, slower in every later round."""

    def __init__(self, name, seconds, log):
        self.name, self.version, self.seconds, self.log = name, "1.0", seconds, log

    def block(self, inferences):
        self.log.append((self.name, inferences))
        return [self.seconds * (1 + len(self.log))] * inferences


def test_alternates_and_compares_within_a_round():
    log = []
    found = race([Fake("ours", 1e-3, log), Fake("theirs", 2e-3, log)], inferences=10, rounds=5)
    assert [name for name, _ in log] == ["ours", "theirs", "theirs", "ours"] * 2 + [
        "ours",
        "theirs",
    ]
    assert {count for _, count in log} == {2}
    assert [latency.inferences for latency in found] == [10, 10]
    assert found[0].ratio == 1 and 1.5 < found[1].ratio < 3
    assert all(latency.p10_s <= latency.median_s <= latency.p90_s for latency in found)


def test_sizes_blocks_by_itself():
    log = []
    race([Fake("fast", 1e-5, log), Fake("slow", 10.0, log)], rounds=1)
    sizes = dict(log)
    assert sizes["slow"] == LEAST_INFERENCES and sizes["fast"] > 100


def test_tells_how_much_slower_the_last_rounds_were():
    [found] = race([Fake("ours", 1e-3, [])], inferences=7, rounds=7)
    assert found.drift == pytest.approx(7 / 3)  # of 2 to 8 ms: 7 ms over 3 ms
    [found] = race([Fake("ours", 1e-3, [])], inferences=5, rounds=5)
    assert found.drift == 1


@pytest.mark.parametrize("lost_in", [0, 3])
def test_keeps_the_rounds_before_a_device_was_lost(lost_in):
    class Vanishing(Fake):
        def block(self, inferences):
            if sum(name == self.name for name, _ in self.log) == lost_in:
                raise DeviceLost("gone")
            return super().block(inferences)

    contenders = [Fake("ours", 1e-3, log := []), Vanishing("theirs", 1e-3, log)]
    with pytest.raises(DeviceLost, match="gone") as caught:
        race(contenders, inferences=7)
    assert isinstance(caught.value, LostInRace) == bool(lost_in)
    if lost_in:
        assert [latency.inferences for latency in caught.value.latencies] == [3, 3]


def test_reports_progress():
    steps = []
    log = []
    race([Fake("ours", 1, log)], inferences=3, progress=lambda *step: steps.append(step))
    assert steps == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(("share", "expected"), [(0.1, 1), (0.5, 5), (0.9, 9), (0.91, 10)])
def test_percentiles_are_values(share, expected):
    assert percentile(range(1, 11), share) == expected


FAKE_WORKER = """
import json, sys, time
for line in sys.stdin:
    question = json.loads(line)
    if "framework" in question:
        answer = {told}
    else:
        answer = {{"seconds": [0.5] * question["inferences"]}}
    print(json.dumps(answer), flush=True)
"""


def worker(told):
    return [sys.executable, "-c", FAKE_WORKER.format(told=told)]


def test_stops_a_peer_between_its_blocks():
    peer = Peer("fake", "model.onnx", 1, [], worker({"version": "2.0"}))
    try:
        assert peer.version == "2.0"
        assert peer.block(3) == [0.5] * 3
        deadline = time.monotonic() + 5
        while state(peer.process.pid) != "T" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert state(peer.process.pid) == "T"
        assert peer.block(1) == [0.5]
    finally:
        peer.close()
    assert peer.process.returncode is not None


def state(process):
    """R, S, T (stopped), ... as Linux tells it."""
    with open(f"/proc/{process}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


@pytest.mark.parametrize(
    ("told", "kind", "message"),
    [
        ('{"missing": "openvino"}', MissingPackage, r"pip install 'qcompile\[bench\]'"),
        ('{"error": "bad model"}', PeerFailed, "fake: bad model"),
        ("sys.exit('last words')", PeerFailed, "its process ended: last words"),
    ],
)
def test_tells_why_a_peer_cannot_run(told, kind, message):
    with pytest.raises(kind, match=message):
        Peer("fake", "model.onnx", 1, [], worker(told))


def test_worker_tells_what_is_not_installed():
    command = [sys.executable, "-m", "qcompile.commands.peer_worker"]
    if importlib.util.find_spec("openvino"):
        pytest.skip("openvino is installed")
    with pytest.raises(MissingPackage, match="openvino is not installed"):
        Peer("openvino", "model.onnx", 1, [], command)


@pytest.mark.peer
def test_measures_onnxruntime(tmp_path):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    graph = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13]> g (float[2, 3] x) => (float[2, 3] y)'
        " { y = Relu(x) }"
    )
    onnx.save(graph, tmp_path / "relu.onnx")
    peer = Peer("onnxruntime", tmp_path / "relu.onnx", 1, [TensorSpec("x", "float32", (2, 3))])
    try:
        times = peer.block(5)
    finally:
        peer.close()
    assert len(times) == 5 and all(0 < seconds < 1 for seconds in times)
    with pytest.raises(PeerFailed, match="onnxruntime: "):
        Peer("onnxruntime", tmp_path / "none.onnx", 1, [])
    with pytest.raises(PeerFailed, match="invalid dimensions"):  # told before it is measured
        Peer("onnxruntime", tmp_path / "relu.onnx", 1, [TensorSpec("x", "float32", (2, 4))])


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int8", "int64", "bool"])
def test_makes_inputs_of_every_type(dtype):
    array = sample(dtype, (3, 4))
    assert array.shape == (3, 4) and array.dtype == dtype and np.isfinite(array).all()
