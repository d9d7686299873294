"""What memory a plan's steps leave, and who has it."""

from types import SimpleNamespace

from lastbit.engines.plan import Planned
from lastbit.engines.scratch import ScratchPool


def test_a_tensor_is_left_after_its_last_reader():
    steps = [SimpleNamespace(reads=reads) for reads in ((0,), (1, 0), (2, 1), (3, 3))]
    assert Planned.of(steps, frozenset({1})).unread == [(), (0,), (2,), (3, 3)]


def test_memory_is_lent_to_one_call_at_a_time_and_then_again():
    pool = ScratchPool()
    with pool.lent() as first, pool.lent() as second:
        assert first is not second
    with pool.lent() as again:
        assert again in (first, second)
