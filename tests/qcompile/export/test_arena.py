"""Places in the arena never overlap in time and space, and reach the lower bound where known."""

from hypothesis import given, settings
from hypothesis import strategies as st

from qcompile.export.arena import ALIGNMENT, Lifetime, plan_arena

lifetimes = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 20), st.integers(0, 20)).map(
        lambda t: Lifetime(t[0], min(t[1:]), max(t[1:]))
    ),
    max_size=16,
)


@settings(max_examples=60, deadline=None)
@given(lifetimes)
def test_tensors_alive_together_lie_apart(tensors):
    arena = plan_arena(tensors)
    assert arena.lower_bound <= arena.bytes <= sum(t.size for t in tensors)
    for k, (a, tensor) in enumerate(zip(arena.offsets, tensors, strict=True)):
        assert a % ALIGNMENT == 0
        assert a + tensor.size <= arena.bytes
        for b, other in zip(arena.offsets[:k], tensors[:k], strict=True):
            together = tensor.first <= other.last and other.first <= tensor.last
            assert not together or a + tensor.size <= b or b + other.size <= a


def test_a_chain_takes_its_largest_pair():
    sizes = [100, 300, 200, 800, 600, 700, 64]
    tensors = [Lifetime(size * 64, k, k + 1) for k, size in enumerate(sizes)]
    assert plan_arena(tensors).bytes == (800 + 600) * 64


def test_residual_blocks_reach_the_largest_live_set():
    tensors = []
    for k in range(0, 40, 4):
        size = 640 * (10 - k // 4)
        tensors += [Lifetime(size, k, k + 4), Lifetime(size * 2, k + 1, k + 2)]
        tensors += [Lifetime(size * 2, k + 2, k + 3), Lifetime(size, k + 3, k + 4)]
    arena = plan_arena(tensors)
    assert arena.bytes == arena.lower_bound


def test_nothing_takes_nothing():
    assert plan_arena([]).bytes == 0
