"""Work through a stream in several threads, in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")


class Workers:
    """A pool of threads that works through a stream in order, a few items ahead of who takes the results.

    With one thread, and for a stream of one item, the work is done where the results are taken.
    """

    def __init__(self, number: int | None = None) -> None:
        self._number = number or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[..., T], items: Iterable[tuple[Any, ...]]) -> Iterator[T]:
        """The results of `function` for every tuple of arguments, in order."""
        rest = iter(items)
        first = list(islice(rest, 2))
        if len(first) < 2 or self._number == 1:
            for item in chain(first, rest):
                yield function(*item)
            return
        waiting: deque[Future[T]] = deque()
        for item in chain(first, rest):
            waiting.append(self._pool.submit(function, *item))
            if len(waiting) > self._number:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
