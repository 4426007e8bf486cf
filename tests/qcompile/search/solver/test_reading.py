"""Problems in every accepted form, and what is said of the others."""

import copy
import json
import math

import numpy as np
import pytest

from qcompile.search import InvalidProblem, read_problem, solve

GOOD = {
    "network": "two",
    "layers": [
        {
            "name": "first",
            "choices": [
                {"bits": 4, "sensitivity": 2, "latency": 1},
                {"bits": 8, "sensitivity": 1, "latency": 2},
            ],
        },
        {
            "name": "second",
            "choices": [
                {"w": 4, "a": 8, "sensitivity": 3, "latency": 1},
                {"w": 8, "a": 8, "sensitivity": 1, "latency": 5},
                {"w": 8, "a": 8, "kernel": "bitserial", "sensitivity": 1, "latency": 4},
            ],
        },
    ],
    "same_w": [["first", 1]],
    "pairs": [{"layers": ["first", "second"], "latency": [[0, 0, 1], [0.5, 0, 0.25]]}],
    "budgets": {"tight": {"latency": 3}},
}


def changed(*changes):
    """GOOD with (path..., value) set, or taken out where the value is ..."""
    problem = copy.deepcopy(GOOD)
    for *path, last, value in changes:
        place = problem
        for step in path:
            place = place[step]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return problem


def test_reads_every_part(tmp_path):
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(GOOD))
    for source in (GOOD, path, str(path), read_problem(GOOD)):
        found = solve(source, {"latency": 7})
        assert found.bits == {"first": (8, 8), "second": (8, 8)}
        assert found.chosen == {"first": 1, "second": 2}
        assert (found.sensitivity, found.costs) == (2, {"latency": 6.25})


CHOICE = ("layers", 1, "choices", 0)
BAD = {
    "no layers": ([("layers", ...)], ["the problem", "'layers'", "required"]),
    "empty": ([("layers", [])], ["'layers'", "found none", "at least one"]),
    "unknown section": ([("same_bit", [])], ["'same_bit'", "'same_bits'"]),
    "unknown key of a layer": ([("layers", 0, "kind", 1)], ["layer 0", "'kind'", "'choices'"]),
    "no name": ([("layers", 0, "name", ...)], ["layer 0", "'name'"]),
    "same names": ([("layers", 0, "name", "second")], ["'second'", "2 times"]),
    "no choices": ([("layers", 1, "choices", [])], ["'second'", "no widths", "at least one"]),
    "no list": ([("layers", 1, "choices", "48")], ["'second'", "'48'", "a list of choices"]),
    "missing width": ([(*CHOICE, "a", ...)], ["'second', choice 0", "['w']", "'w' and 'a'"]),
    "both widths": ([(*CHOICE, "bits", 4)], ["'second', choice 0", "['bits', 'w', 'a']"]),
    "width 0": ([(*CHOICE, "w", 0)], ["choice 0: 'w'", "found 0", "1 to 32"]),
    "width 4.5": ([(*CHOICE, "w", 4.5)], ["choice 0: 'w'", "4.5"]),
    "width true": ([(*CHOICE, "w", True)], ["choice 0: 'w'", "True"]),
    "twice": ([("layers", 1, "choices", 2, "kernel", ...)], ["'second'", "w8a8 comes 2 times"]),
    "NaN": ([(*CHOICE, "latency", math.nan)], ["'second', choice 0: 'latency'", "nan", "finite"]),
    "infinite": ([(*CHOICE, "sensitivity", math.inf)], ["'sensitivity'", "inf", "finite"]),
    "huge": ([(*CHOICE, "latency", 10**400)], ["'latency'", "finite"]),
    "negative": ([(*CHOICE, "latency", -1)], ["'latency'", "-1", "at least 0"]),
    "text": ([(*CHOICE, "latency", "1")], ["'latency'", "'1'", "finite number"]),
    "other cost": ([(*CHOICE, "size", 1)], ["'second', choice 0", "unknown cost 'size'"]),
    "missing cost": ([(*CHOICE, "latency", ...)], ["'second', choice 0", "no 'latency'"]),
    "no sensitivity": ([(*CHOICE, "sensitivity", ...)], ["choice 0", "no 'sensitivity'"]),
    "group of one": ([("same_w", [["first"]])], ["'same_w', group 0", "two or more"]),
    "group with itself": ([("same_w", [[0, "first"]])], ["'same_w', group 0", "different"]),
    "unknown layer": ([("same_w", [["first", "third"]])], ["group 0", "'third'", "from 0 to 1"]),
    "place too large": ([("same_a", [[0, 2]])], ["'same_a', group 0", "found 2"]),
    "nothing shared": (
        [("layers", 1, "choices", [{"bits": 2, "sensitivity": 1, "latency": 1}])],
        ["no width in common", "'first' offers", "[(2,)]"],
    ),
    "pair of one": ([("pairs", 0, "layers", ["first"])], ["pair 0: 'layers'", "found 1", "2"]),
    "pair with itself": ([("pairs", 0, "layers", [0, 0])], ["pair 0", "one layer twice"]),
    "pair again": ([("pairs", GOOD["pairs"] * 2)], ["pair 1", "already"]),
    "pair without cost": ([("pairs", 0, "latency", ...)], ["pair 0", "no cost"]),
    "pair of another cost": ([("pairs", 0, "energy", [])], ["pair 0", "'energy'", "'latency'"]),
    "too few rows": ([("pairs", 0, "latency", [[1, 1, 1]])], ["pair 0: 'latency'", "1 rows", "2"]),
    "too few columns": (
        [("pairs", 0, "latency", [[1, 1, 1], [1, 1]])],
        ["pair 0: 'latency', row 1", "2 columns", "3"],
    ),
    "named budget": ([("budgets", {"b": {"size": 1}})], ["budgets 'b'", "'size'", "'latency'"]),
}


@pytest.mark.parametrize(("changes", "told"), BAD.values(), ids=BAD)
def test_says_where_and_what(changes, told):
    with pytest.raises(InvalidProblem) as raised:
        read_problem(changed(*changes))
    assert all(part in str(raised.value) for part in told), raised.value


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ({"energy": 1}, ["'energy'", "no cost of the problem", "'latency'"]),
        ({"latency": 0}, ["budget 'latency'", "found 0", "more than 0"]),
        ({"latency": math.nan}, ["budget 'latency'", "nan", "finite"]),
        ({"latency": "3 ms"}, ["budget 'latency'", "'3 ms'", "finite"]),
        ([3], ["budget", "[3]", "an object"]),
    ],
)
def test_says_what_is_wrong_with_a_budget(budget, told):
    with pytest.raises(InvalidProblem) as raised:
        solve(GOOD, budget)
    assert all(part in str(raised.value) for part in told), raised.value


def test_says_what_can_be_minimised():
    with pytest.raises(InvalidProblem, match=r"minimise: found 'speed'.*'latency' would work"):
        solve(GOOD, {}, minimise="speed")


def test_groups_that_contradict_each_other():
    first, second = GOOD["layers"][0]["choices"]
    layers = [
        {"name": "x", "choices": [first, second]},
        {"name": "y", "choices": [first | {"bits": 8}, second | {"bits": 2}]},
        {"name": "z", "choices": [first | {"bits": 4}, second | {"bits": 2}]},
    ]
    problem = {"layers": layers, "same_bits": [[0, 1], [1, 2]]}
    with pytest.raises(InvalidProblem, match="the groups leave no assignment"):
        solve(problem, {"latency": 9})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is no JSON"),
        ("[]", "the problem: found \\[\\]"),
        ('{"layers": [], "layers": []}', "'layers' comes twice"),
        ('{"layers": NaN}', "found NaN"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_names_the_file(tmp_path, content, told):
    path = tmp_path / "problem.json"
    path.write_text(content)
    with pytest.raises(InvalidProblem, match=f"problem.json: {told}"):
        read_problem(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InvalidProblem, match=r"none\.json: cannot be read: No such file"):
        read_problem(tmp_path / "none.json")


# HAQ's form: latency[layer][w - 1][a - 1].
LATENCY = [[[1, 2], [3, 4]], [[10, 20], [30, None]]]
SENSITIVITY = [[[9, 8], [7, 6]], [[9, 8], [7, 6]]]


def haq(**tables):
    return {"layers": [{"name": "x"}, {"name": "y"}], "tables": tables}


def test_takes_the_widths_that_all_tables_know():
    found = solve(haq(latency=LATENCY, sensitivity=SENSITIVITY), {"latency": 32})
    assert found.bits == {"x": (2, 2), "y": (1, 2)}
    assert (found.sensitivity, found.costs) == (14, {"latency": 24})


def test_takes_a_table_beside_choices():
    choices = [{"w": 2, "a": 1, "sensitivity": 1}, {"bits": 1, "sensitivity": 2}]
    problem = haq(latency=LATENCY)
    problem["layers"] = [{"name": name, "choices": choices} for name in "xy"]
    assert solve(problem, {"latency": 13}).bits == {"x": (2, 1), "y": (1, 1)}


def test_reads_a_table_from_an_array_file(tmp_path):
    np.save(tmp_path / "latency.npy", np.array(LATENCY, "float32"))  # None becomes NaN
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(haq(latency="latency.npy", sensitivity=SENSITIVITY)))
    assert read_problem(path) == read_problem(haq(latency=LATENCY, sensitivity=SENSITIVITY))


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"latency": LATENCY}, "no 'sensitivity'; give it here or as a table"),
        ({"latency": LATENCY[:1], "sensitivity": SENSITIVITY}, "table 'latency': found 1 matrices"),
        ({"latency": [[[-1]], [[1]]]}, "table 'latency', layer 'x', w 1, a 1: 'latency': found -1"),
        ({"latency": [[[1], 2], [[1]]]}, "layer 'x', w 2: found 2; a list"),
        ({"latency": [[[None]], [[1]]]}, "layer 'x': found no widths"),
        ({"latency": "absent.npy"}, "table 'latency': absent.npy cannot be read"),
    ],
)
def test_says_what_is_wrong_with_a_table(tables, told):
    with pytest.raises(InvalidProblem) as raised:
        read_problem(haq(**tables))
    assert told in str(raised.value)


def test_says_which_widths_a_table_lacks():
    problem = haq(latency=LATENCY)
    problem["layers"][1]["choices"] = [{"bits": 2, "sensitivity": 1}]
    problem["layers"][0]["choices"] = [{"bits": 2, "sensitivity": 1}]
    with pytest.raises(InvalidProblem, match="'y', choice 0: the table 'latency' knows no w2a2"):
        read_problem(problem)


def test_an_array_file_of_another_shape(tmp_path):
    np.save(tmp_path / "flat.npy", np.zeros(3))
    with pytest.raises(InvalidProblem, match="1-D float64; a 3-D array"):
        read_problem(haq(latency=str(tmp_path / "flat.npy")))
