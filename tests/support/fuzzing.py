"""How much is thrown at the pack: the same every time in the suite, more and other things by ``python dev.py fuzz``."""

from __future__ import annotations

import functools
import os
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cns_pack.cns_core.errors import CNSError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LONGER = int(os.environ.get("CNS_FUZZ_LONGER", "1"))  # times the suite's number of examples; then drawn by --hypothesis-seed
counts: Counter[str] = Counter()  # examples that have run, by the name of their module


def thrown(examples: int) -> Callable[[Callable], Callable]:
    """For a fuzz test, above ``given``: how many examples it runs in the suite. They are counted."""
    fixed = LONGER == 1
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    limits = settings(
        derandomize=fixed, max_examples=examples * LONGER, deadline=None, database=None, suppress_health_check=checks
    )

    def limited(test: Callable) -> Callable:
        inner = test.hypothesis.inner_test

        @functools.wraps(inner)
        def counted(*args: object, **inputs: object) -> None:
            counts[test.__module__.removeprefix("test_")] += 1
            inner(*args, **inputs)

        test.hypothesis.inner_test = counted
        return limits(test)

    return limited


def check_sentence(error: CNSError) -> None:
    """One line that ends as a sentence does."""
    message = str(error)
    assert message.splitlines() == [message], repr(message)
    assert message.endswith((".", "!", ")")), repr(message)


def cut_or_flipped(blob: bytes) -> st.SearchStrategy[bytes]:
    """The file cut short anywhere, or with bytes in it changed."""
    places = st.integers(0, len(blob) - 1)
    changes = st.lists(st.tuples(places, st.integers(1, 255)), min_size=1, max_size=8)
    return st.one_of(places.map(lambda end: blob[:end]), changes.map(lambda flips: _flipped(blob, flips)))


def _flipped(blob: bytes, flips: list[tuple[int, int]]) -> bytes:
    changed = bytearray(blob)
    for place, bits in flips:
        changed[place] ^= bits
    return bytes(changed)


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    """Asserts that Python and NumPy held no more than ``limit`` bytes at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()
