# SPDX-License-Identifier: Apache-2.0
"""The hook around everything that leaves the process: transactions, statements, peer and device calls.

Production leaves it empty. Tests install an observer that lists the points, or kills or fails the process there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

Observer = Callable[[str, str], None]
"""Called with the label of the effect and ``"before"`` or ``"after"``; whatever it raises is what happened there."""

_observer: Observer | None = None
_NOTHING: AbstractContextManager[None] = nullcontext()


def effect(label: str) -> AbstractContextManager[None]:
    """Marks the block as one effect called *label*, such as ``"network.AttachPort"``."""
    # Every statement passes here: without an observer nothing is made.
    return _NOTHING if _observer is None else _Shown(_observer, label)


class _Shown:
    """One effect that is observed; what ends in an exception has no "after"."""

    __slots__ = ("_label", "_observer")

    def __init__(self, observer: Observer, label: str) -> None:
        self._observer = observer
        self._label = label

    def __enter__(self) -> None:
        self._observer(self._label, "before")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._observer(self._label, "after")


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Installs *observer* for the block; tests only, one at a time in a process."""
    global _observer  # noqa: PLW0603 -- the one hook of the process, see the module's docstring
    previous, _observer = _observer, observer
    try:
        yield
    finally:
        _observer = previous
