"""Small random problems with groups, several costs, kernels and costs of neighbours."""

import itertools

from hypothesis import strategies as st

COSTS = ("latency", "size")
WIDTHS = list(itertools.product((2, 4, 8), (4, 8)))


def amounts(ties):
    """Eighths, exact in sums; few different ones where ties are wanted."""
    return st.integers(0, 3 if ties else 4000).map(lambda eighths: eighths / 8)


@st.composite
def problems(draw, ties=False):
    """A problem in its Python form. Every group keeps a width in common."""
    amount = amounts(ties)
    count = draw(st.integers(1, 5))
    layers = [{"name": f"l{i}", "choices": draw(_choices(amount))} for i in range(count)]
    problem = {"layers": layers}
    for section in ("same_bits", "same_w", "same_a"):
        if count > 1 and draw(st.booleans()):
            problem[section] = [draw(_places(count))]
    sizes = [len(layer["choices"]) for layer in layers]
    problem["pairs"] = [
        {"layers": [i, k], name: draw(_matrix(sizes[i], sizes[k], amount))}
        for i, k in itertools.combinations(range(count), 2)
        if draw(st.integers(0, 2)) == 0
        for name in [draw(st.sampled_from([*COSTS, "sensitivity"]))]
    ]
    return problem


@st.composite
def budgets(draw, problem):
    """Limits around what the problem's assignments cost."""
    names = draw(st.lists(st.sampled_from(COSTS), unique=True, max_size=2))
    tops = {
        name: sum(max(c[name] for c in layer["choices"]) for layer in problem["layers"])
        for name in names
    }
    return {name: draw(st.integers(1, 20)) / 16 * tops[name] + 1 / 64 for name in names}


@st.composite
def _choices(draw, amount):
    # The widest is on offer everywhere, so that groups have something in common.
    widths = [(8, 8), *draw(st.lists(st.sampled_from(WIDTHS[:-1]), unique=True, max_size=3))]
    choices = [{"w": w, "a": a} for w, a in widths]
    if draw(st.booleans()):
        choices.append({"w": 8, "a": 8, "kernel": "bitserial"})
    estimate = st.one_of(amount, amount.map(lambda value: -value))
    return [
        {**c, "sensitivity": draw(estimate), **{name: draw(amount) for name in COSTS}}
        for c in draw(st.permutations(choices))
    ]


@st.composite
def _places(draw, count):
    return draw(st.lists(st.integers(0, count - 1), unique=True, min_size=2, max_size=3))


@st.composite
def _matrix(draw, rows, columns, amount):
    return [[draw(amount) for _ in range(columns)] for _ in range(rows)]
