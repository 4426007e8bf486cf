"""Which of the records a kernel is compiled with."""

import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcompile.records import Case, Choice, MeasuredTarget, Records, canonical, choose
from qcompile.records.choice import best, best_of_problem
from tests.qcompile.records.record_lines import RECORD, TARGET, failed, timed

OTHER = {"epilogue": ("another",)}
times = st.floats(1e-6, 1e-2)
DEFAULT = timed(0, 3e-3, default=True)


def chosen(*databases, record=RECORD, target=TARGET, threads=1):
    """The choice for what `record` measured, among lists of records."""
    collections = [Records(records) for records in databases]
    wanted = record.operator, record.problem, record.epilogue
    return choose(collections, *wanted, target, threads)


def tile(choice: Choice):
    return choice.decisions and choice.decisions["tile"]


@given(st.lists(st.tuples(st.integers(0, 4), times, times), max_size=20))
def test_takes_the_least_ratio(measured):
    """Tile 0 is the default."""
    records = [timed(k, time, reference, default=k == 0) for k, time, reference in measured]
    ratios = {
        k: statistics.median(
            [time / reference for other, time, reference in measured if other == k]
        )
        for k, _, _ in measured
        if k != 0
    }
    choice = best(Records(records), RECORD.workload, TARGET)
    if not measured:
        assert choice == Choice(Case.NO_RECORD)
        return
    assert choice.default_s == statistics.median([reference for _, _, reference in measured])
    if min(ratios.values(), default=1.0) >= 0.99:
        assert choice.case == Case.DEFAULT_FASTEST and choice.decisions is None
        assert choice.seconds == choice.default_s
    else:
        assert choice.case == Case.TUNED
        assert ratios[tile(choice)] == min(ratios.values())
        own = [time for k, time, _ in measured if k == tile(choice)]
        assert choice.seconds == statistics.median(own)


def test_a_machine_that_drifts_decides_nothing():
    """The second was measured while everything took twice as long."""
    assert tile(chosen([timed(1, 2e-3, 3e-3), timed(2, 3e-3, 6e-3)])) == 2


def test_one_percent_is_no_gain():
    for seconds, default in ((2.98e-3, True), (3e-3, True), (2.96e-3, False)):
        case = Case.DEFAULT_FASTEST if default else Case.TUNED
        assert chosen([timed(1, seconds)]).case == case


def test_no_record_of_the_default_is_needed():
    choice = chosen([timed(1, 1e-3), timed(2, 2e-3, 5e-3)])
    assert (tile(choice), choice.seconds, choice.default_s) == (1, 1e-3, 4e-3)


def test_the_default_is_its_decisions_whoever_measured_them():
    again = timed(0, 1e-3)
    assert chosen([DEFAULT, again]).case == Case.DEFAULT_FASTEST
    assert tile(chosen([DEFAULT, again, timed(1, 2.5e-3)])) == 1


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
    others = [timed(k, k * 1e-4, **OTHER) for k in (2, 1, 3)]
    choice = chosen(others)
    assert (choice.case, tile(choice)) == (Case.OTHER_EPILOGUE, 1)
    assert tile(chosen([*others, timed(4, 1e-3)])) == 4
    assert chosen([*others, timed(4, 1.0)]).case == Case.DEFAULT_FASTEST
    assert chosen([*others, DEFAULT]).case == Case.DEFAULT_FASTEST
    slow = [timed(k, 1.0, **OTHER) for k in (1, 2, 3)]
    assert chosen(slow).case == Case.DEFAULT_FASTEST
    found = best_of_problem(Records(others), RECORD.operator, dict(RECORD.problem), TARGET)
    assert found == choice


def test_times_of_other_epilogues_do_not_mix():
    """The second has fewer candidates."""
    second = timed(9, 1e-6, epilogue=("second",))
    others = [timed(k, k * 1e-3, **OTHER) for k in (2, 1)]
    assert tile(chosen([second, *others])) == 1


def test_times_of_other_places_do_not_mix():
    change = {"processor": "Intel Xeon"}
    fast = [timed(3, 1e-6, **change), timed(4, 2e-6, **change)]
    assert tile(chosen([*fast, timed(1, 2e-3), timed(2, 1e-3), DEFAULT])) == 2
    later = {**change, "time": "2026-12-01T00:00:00Z"}
    fast = [timed(3, 1e-6, **later), timed(4, 2e-6, **later)]
    assert tile(chosen([*fast, timed(1, 2e-3), timed(2, 1e-3)])) == 3


def test_only_records_of_as_many_threads_count():
    two = timed(1, 1e-6, threads=2)
    assert chosen([two]) == Choice(Case.OTHER_THREADS)
    assert tile(chosen([two, timed(2, 1e-3)])) == 2
    assert tile(chosen([two, timed(2, 1e-3)], threads=2)) == 1
    assert chosen([timed(2, 1e-3)], [], threads=2) == Choice(Case.OTHER_THREADS)
    assert tile(chosen([timed(2, 1e-3)], [two], threads=2)) == 1
    assert chosen([DEFAULT, two]).case == Case.DEFAULT_FASTEST


def test_real_times_come_before_modelled_ones():
    modelled = timed(1, 1e-6, device="model:rpi4")
    choice = chosen([modelled])
    assert (choice.case, tile(choice), choice.modelled) == (Case.TUNED, 1, True)
    choice = chosen([modelled, timed(2, 1e-3)])
    assert (tile(choice), choice.modelled) == (2, False)
    assert chosen([modelled, DEFAULT]).case == Case.DEFAULT_FASTEST
    assert chosen([modelled, timed(1, 1e-3, **OTHER)]).case == Case.OTHER_EPILOGUE
    assert chosen([modelled], [timed(2, 1e-3)]).modelled is False
    both = chosen([timed(1, 3e-3, device="model:rpi4")])
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


def test_only_thorough_measurements_decide_where_there_are_some():
    found = [timed(1, 1e-3), timed(1, 2.5e-3, thorough=True), timed(2, 2e-3, thorough=True)]
    choice = best(Records(found), RECORD.workload, TARGET)
    assert choice.case == Case.TUNED and choice.decisions == {"tile": 2}


def test_the_default_wins_where_thorough_measurements_say_so():
    found = [timed(1, 1e-3), timed(1, 3e-3, thorough=True)]
    choice = best(Records(found), RECORD.workload, TARGET)
    assert choice.case == Case.DEFAULT_FASTEST and choice.decisions is None
