"""Why no assignment keeps a budget, and the one that comes nearest.

*Nearest*: where raising one budget alone is enough, the budget that has to be raised by the
smallest factor is the *binding* one (the first of equals), and the nearest point is the best
assignment with exactly that budget raised: it keeps all others, and nothing that does is cheaper in
the binding one. Where no single budget is enough, all are raised by the same smallest factor, and
the binding one is the budget that needs this factor.
"""

from collections.abc import Mapping

from qcompile.errors import Infeasible, InvalidProblem
from qcompile.search.solver.search import Search
from qcompile.search.solver.solution import Solution


def infeasible(search: Search, minimise: str, limits: Mapping[str, float]) -> Infeasible:
    """The error that says so. Raises InvalidProblem when groups forbid every assignment."""
    if search.least(minimise, {}) is None:
        raise InvalidProblem("the groups leave no assignment of widths; take one of them out")
    needs: dict[str, float] = {}
    for name in limits:
        others = {other: limit for other, limit in limits.items() if other != name}
        if (found := search.least(name, others)) is not None:
            needs[name] = found.total(name)
    if needs:
        binding = min(needs, key=lambda name: needs[name] / limits[name])
        nearest = search.best(minimise, {**limits, binding: needs[binding]})
    else:
        found = search.least_factor(limits)
        factors = {name: found.total(name) / limit for name, limit in limits.items()}
        binding = max(factors, key=lambda name: factors[name])
        raised = {name: limit * factors[binding] for name, limit in limits.items()}
        nearest = search.best(minimise, raised)
    assert nearest is not None  # `found` is within these limits
    return Infeasible(_message(limits, binding, nearest, needs), binding, nearest, needs)


def _message(
    limits: Mapping[str, float], binding: str, nearest: Solution, needs: Mapping[str, float]
) -> str:
    asked = ", ".join(f"{name} {limit:g}" for name, limit in limits.items())
    point = ", ".join(f"{name} {nearest.total(name):.6g}" for name in limits)
    if needs:
        ways = " or ".join(f"{name} {need:.6g}" for name, need in needs.items())
        remedy = f"{ways} would work{', the rest unchanged' if len(limits) > 1 else ''}"
    else:
        remedy = "no single budget is to blame: several have to be raised"
    return (
        f"budget {asked}: no assignment of widths keeps it; {binding!r} is what binds; {remedy}; "
        f"the nearest assignment has {point}, sensitivity {nearest.sensitivity:.6g}"
    )
