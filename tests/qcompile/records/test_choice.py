"""Which of the records a kernel is compiled with."""

import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcompile.records import Case, Choice, MeasuredTarget, Records, canonical, choose
from qcompile.records.choice import best, best_of_problem
from tests.qcompile.records.record_lines import RECORD, TARGET, failed, timed

OTHER = replace(RECORD, epilogue=("another",))
times = st.floats(1e-6, 1e-2)
sessions = st.lists(times, min_size=1, max_size=4).map(tuple)
DEFAULT = timed(0, 3e-3, default=True)


def chosen(*databases, record=RECORD, target=TARGET):
    """The choice for what `record` measured, among lists of records."""
    collections = [Records(records) for records in databases]
    return choose(collections, record.operator, record.problem, record.epilogue, target)


def tile(choice: Choice):
    return choice.decisions and choice.decisions["tile"]


@given(st.lists(st.tuples(st.integers(0, 4), sessions), max_size=20))
def test_takes_the_least_median(measured):
    """Tile 0 is the default."""
    records = [replace(timed(k, 1.0, default=k == 0), seconds=seconds) for k, seconds in measured]
    medians = {
        k: statistics.median([statistics.median(s) for other, s in measured if other == k])
        for k, _ in measured
    }
    choice = best(Records(records), RECORD.workload, TARGET)
    if not measured:
        assert choice == Choice(Case.NO_RECORD)
    elif medians.get(0, 1.0) <= min(medians.values()):
        assert choice.case == Case.DEFAULT_FASTEST and choice.decisions is None
        assert choice.seconds == choice.default_s == medians[0]
    else:
        assert choice.case == Case.TUNED and choice.default_s == medians.get(0)
        assert medians[tile(choice)] == choice.seconds == min(medians.values())


def test_a_tie_is_the_default():
    for default in (DEFAULT, replace(DEFAULT, decisions={"tile": 9})):
        assert chosen([timed(1, 3e-3), default]).case == Case.DEFAULT_FASTEST
    assert tile(chosen([timed(1, 2.9e-3), DEFAULT])) == 1


def test_the_default_is_its_decisions_whoever_measured_them():
    again = timed(0, 1e-3)
    assert chosen([DEFAULT, again, timed(1, 1.5e-3)]).case == Case.TUNED
    assert chosen([DEFAULT, again, timed(1, 2.5e-3)]).case == Case.DEFAULT_FASTEST


def test_failures_are_not_chosen():
    assert chosen([failed(1, "crash")]).case == Case.NO_RECORD
    assert chosen([failed(1, "crash"), DEFAULT]).case == Case.DEFAULT_FASTEST
    assert tile(chosen([timed(1, 1e-3), failed(1, "timeout"), timed(2, 2e-3)])) == 1


def test_what_was_wrong_once_is_never_chosen():
    assert tile(chosen([timed(1, 1e-3), failed(1, "wrong result"), timed(2, 2e-3)])) == 2


@pytest.mark.parametrize(
    ("change", "serves"),
    [
        ({"name": "mine"}, True),
        ({"features": TARGET.features[::-1]}, True),
        ({"features": TARGET.features[1:]}, False),
        ({"features": (*TARGET.features, "avxvnni")}, False),
        ({"architecture": "aarch64"}, False),
        ({"mcpu": "znver4"}, False),
        ({"vector_bytes": 64}, False),
    ],
)
def test_targets_serve_each_other_by_what_they_have(change, serves):
    other = timed(1, 1e-3, target=replace(MeasuredTarget.of(TARGET), **change))
    assert chosen([other]).case == (Case.TUNED if serves else Case.NO_RECORD)
    measured = Records([other]).measured(RECORD.workload, TARGET, modelled=False)
    assert measured == ({canonical({"tile": 1})} if serves else set())


@pytest.mark.parametrize(
    "change", [{"operator": "dense_int8"}, {"problem": {**RECORD.problem, "channels": 65}}]
)
def test_other_problems_serve_none(change):
    assert chosen([timed(1, 1e-3, **change)]).case == Case.NO_RECORD


def test_another_epilogue_serves_where_there_is_no_record():
    others = [replace(OTHER, decisions={"tile": k}, seconds=(k * 1e-3,)) for k in (2, 1, 3)]
    choice = chosen(others)
    assert (choice.case, tile(choice)) == (Case.OTHER_EPILOGUE, 1)
    assert chosen([*others, timed(4, 1.0)]).case == Case.TUNED
    assert chosen([*others, DEFAULT]).case == Case.DEFAULT_FASTEST
    slow = replace(OTHER, decisions={"tile": 0}, seconds=(1e-4,), default=True)
    assert chosen([*others, slow]).case == Case.DEFAULT_FASTEST
    found = best_of_problem(Records(others), RECORD.operator, dict(RECORD.problem), TARGET)
    assert found == choice


def test_times_of_other_epilogues_do_not_mix():
    """The second has fewer candidates; its times are of less work."""
    second = replace(OTHER, epilogue=("second",), decisions={"tile": 9}, seconds=(1e-6,))
    others = [replace(OTHER, decisions={"tile": k}, seconds=(k * 1e-3,)) for k in (2, 1)]
    assert tile(chosen([second, *others])) == 1


@pytest.mark.parametrize("change", [{"processor": "Intel Xeon"}, {"threads": 2}])
def test_times_of_other_places_do_not_mix(change):
    fast = [timed(3, 1e-6, **change), timed(4, 2e-6, **change)]
    assert tile(chosen([*fast, timed(1, 2e-3), timed(2, 1e-3), DEFAULT])) == 2
    later = {**change, "time": "2026-12-01T00:00:00Z"}
    fast = [timed(3, 1e-6, **later), timed(4, 2e-6, **later)]
    assert tile(chosen([*fast, timed(1, 2e-3), timed(2, 1e-3)])) == 3


def test_real_times_come_before_modelled_ones():
    modelled = timed(1, 1e-6, device="model:rpi4")
    choice = chosen([modelled])
    assert (choice.case, tile(choice), choice.modelled) == (Case.TUNED, 1, True)
    choice = chosen([modelled, timed(2, 1e-3)])
    assert (tile(choice), choice.modelled) == (2, False)
    assert chosen([modelled, DEFAULT]).case == Case.DEFAULT_FASTEST
    assert chosen([modelled, OTHER]).case == Case.OTHER_EPILOGUE
    assert chosen([modelled], [timed(2, 1e-3)]).modelled is False
    both = chosen([modelled, timed(0, 1e-7, default=True, device="model:rpi4")])
    assert (both.case, both.modelled) == (Case.DEFAULT_FASTEST, True)


def test_earlier_databases_come_first():
    ours, theirs = [timed(1, 2e-3)], [timed(2, 1e-3)]
    assert tile(chosen(ours, theirs)) == 1 and tile(chosen([], theirs)) == 2
    assert chosen([DEFAULT], theirs).case == Case.DEFAULT_FASTEST
    assert chosen().case == Case.NO_RECORD


def test_names_the_newest_record_of_what_it_takes():
    records = [timed(1, 1e-3), timed(2, 9e-3), timed(1, 2e-3, time="2026-12-01T00:00:00Z")]
    choice = chosen(records)
    assert choice.record == records[2] and choice.seconds == 1.5e-3


def test_knows_what_need_not_be_measured_again():
    records = [
        timed(1, 1e-3),
        failed(2, "crash"),
        failed(3, "device"),
        failed(4, "device"),
        timed(4, 1e-3),
        timed(5, 1e-3, device="model:rpi4"),
        timed(6, 1e-3, epilogue=("another",)),
        replace(DEFAULT, decisions={"tile": (7, 8)}),
    ]
    collection = Records(records)
    real = collection.measured(RECORD.workload, TARGET, modelled=False)
    assert real == {canonical({"tile": k}) for k in (1, 2, 4, [7, 8])}
    assert collection.measured(RECORD.workload, TARGET, modelled=True) == {canonical({"tile": 5})}
    assert len(collection) == len(list(collection)) == 8
    assert collection.of("0" * 16, TARGET) == ()
