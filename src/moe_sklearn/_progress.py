"""Progress of a long fit: a line for each stage, fit for a notebook and for a log file."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ._checks import check_number

# The time between lines within a stage doubles, up to this number of seconds.
SECONDS_BETWEEN = 10.0


class Progress:
    """Print what a fit does: complete lines, each in one piece, without control characters.

    Parameters
    ----------
    name : str, default=""
        Begins each line, in brackets.
    verbose : int, default=0
        0 prints nothing, 1 prints a line for each stage, 2 also prints lines within long stages.

    Examples
    --------
    >>> progress = Progress("Model", verbose=1)
    >>> progress.say("float32 is too rough")
    [Model] float32 is too rough
    >>> stage = Progress("Model").stage("moments")
    >>> stage.end("9 bins")
    """

    def __init__(self, name: str = "", verbose: int = 0):
        self.name, self.verbose = name, verbose

    @classmethod
    def of(cls, estimator) -> Progress:
        """Make the progress of an estimator from its parameter `verbose`; a model without it is silent.

        Raises
        ------
        ValueError
            If `verbose` is not an integer, or is negative.
        """
        verbose = getattr(estimator, "verbose", 0)
        if not isinstance(verbose, bool):
            check_number(verbose, "verbose", 0, np.inf, integer=True)
        return cls(type(estimator).__name__, int(verbose))

    def __bool__(self):
        return self.verbose > 0

    def say(self, text: str, level: int = 1):
        """Print a line if `verbose` is at least `level`."""
        if self.verbose >= level:
            # Several threads can print; a single write keeps the line in one piece.
            print(f"[{self.name}] {text}\n", end="", flush=True)

    def stage(self, name: str, n_rows: int | None = None) -> Stage:
        """Begin a stage. `n_rows` is the number of rows that it will read, if known."""
        return Stage(self, name, n_rows)


class Stage:
    """A stage of a fit, timed from its creation on, see `Progress.stage`."""

    def __init__(self, progress: Progress, name: str, n_rows: int | None = None):
        self.progress, self.name, self.n_rows = progress, name, n_rows
        self._n_done, self._began, self._next = 0, time.monotonic(), 1.0

    @property
    def seconds(self) -> float:
        """Seconds since the stage began."""
        return time.monotonic() - self._began

    @property
    def watch(self) -> Callable[[int], None] | None:
        """Return the function to call with each number of rows that is done; None if nothing is printed."""
        return self._count if self.progress.verbose > 1 else None

    def _count(self, n_rows: int):
        self._n_done += n_rows
        of_all = "" if self.n_rows is None else f" of {self.n_rows:,}"
        self.report(lambda: f"{self._n_done:,}{of_all} rows, {self._rate(self._n_done)}")

    def report(self, words: Callable[[], str]):
        """Print a line within the stage, if `verbose` is 2 and enough time has passed since the last one."""
        seconds = self.seconds
        if self.progress.verbose > 1 and seconds >= self._next:
            self._next = seconds + min(seconds, SECONDS_BETWEEN)
            self.progress.say(f"{self.name}: {words()}", level=2)

    def end(self, *notes: str, n_rows: int | None = None):
        """Print the line of the stage: its notes, rows and seconds."""
        counted = [] if n_rows is None else [f"{n_rows:,} rows"]
        self.progress.say(f"{self.name}: {', '.join([*counted, *notes, self._rate(n_rows)])}")

    def _rate(self, n_rows):
        seconds = self.seconds
        words = f"{seconds:,.1f} s"
        return words if n_rows is None else f"{words}, {n_rows / max(seconds, 1e-9):,.0f} rows/s"


SILENT = Progress()
