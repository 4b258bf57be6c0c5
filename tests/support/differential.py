"""Random cases of the ridge experts, and the rule by which one fails.

A case is a line of numbers, `Case`, drawn from a seed. Its rows are made from these numbers. A case with one
of them changed has the same random draws, so that causes can be told apart.

**The rule.** Predictions of the experts (oracle) and of the global model on new rows are compared with the
ridges that NumPy finds in float64 for the rows *as they are given*, in standard deviations of y.

1. float32 rows: no more than 1e-3. float64 rows: no more than 1e-8, or 1e-8 * shift / 1e5 beyond a shift
   of 1e5. A shift is a distance from 0, or between bins or batches, in standard deviations of the columns.
2. `fit` and `fit_batches` can read the rows again in float64, and scikit-learn's Ridge takes all of them:
   only the right number passes. A warning beside a wrong number does not help, and an error fails.
3. Moments that are added to, kept or subtracted have lost the rows. Where float32 products, or a subtraction,
   leave too few digits, a UserWarning or a ValueError that names the way out is enough. For float32 rows this
   is product_dtype. For float64 rows there is no wider product, and nothing is lost unless moments are
   subtracted: only there a word is enough. A LinAlgWarning is no such word unless it names product_dtype,
   because it blames the columns.
4. The condition of X'X + alpha I is below 1e10 for each model, so that every case has an answer. Close to
   that, rounding of products to float64 alone moves predictions by more than rule 1 allows. float64 rows may
   be off by ten times that, as estimated for each case, unless `run` is told to allow nothing.

The estimates of rounding are rough. Of 8,000 cases 12 break the rule without a word, where condition, shift,
distance of the bins and weights are near the ends of their ranges together: 11 by less than NEARLY times what
is allowed (`is_nearly_right`), and one, a subtraction with weights from 1e-6 to 1e6, by 3,000 times, which is
3e-5 sd(y).
"""

from __future__ import annotations

import re
import tempfile
import warnings
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.linalg import LinAlgWarning, svd

from moe_sklearn import BinnedRidgeExperts, accumulate
from moe_sklearn.data import RowSource
from moe_sklearn.moments import BinnedMoments

LIMITS = {"f4": 1e-3, "f8": 1e-8}
# Measured ratios of errors to the estimate are below 10, or defects of up to 1e7.
ROUNDING_ALLOWED = 10.0
NEARLY = {"f4": 2.0, "f8": 10.0}
# Shares of all cases that may be nearly right, and further off
MOST_NEARLY, MOST_FAR = 0.005, 0.0005
FREE_SHIFT, WORST_CONDITION = 1e5, 1e10
N_NEW = 60
MIN_BIN_ROWS = 2
READ_AGAIN = ("fit", "fit alphas", "fit_batches")
WAYS = (*READ_AGAIN, "partial_fit", "accumulate", "merge", "save and load", "subtract")
SOURCES = ("C", "F", "memmap", "shards", "on disk", "csr", "frame", "big-endian")
WAY_OUT = re.compile("product_dtype|alpha|penalty|column", re.IGNORECASE)


class OnDisk(RowSource):
    """An array taken for a file."""

    values = None

    def __init__(self, X):
        super().__init__(X)
        self.in_memory = False


@dataclass(frozen=True)
class Case:
    """One case; `plain` values are those of a harmless one."""

    seed: int
    n: int = 100
    d: int = 5
    n_bins: int = 1
    n_targets: int = 1
    dtype: str = "f8"
    scale_x: float = 1.0
    scale_y: float = 1.0
    offset_y: float = 0.0
    """In standard deviations of y"""
    shift: float = 0.0
    """Largest mean of a column, in its standard deviations"""
    apart: str = ""
    """What lies apart: "bins", or rows in their "order" """
    distance: float = 0.0
    """How far, in standard deviations of the columns"""
    weights: str = ""
    """"" for none, "uniform", "wide" (1e-6 to 1e6) or "zeros" """
    penalty: float = 1.0
    """alpha in units of the mean eigenvalue of X'X within the bins"""
    rank: int = 0
    """Columns have so many common factors; 0 for independent ones"""
    noise: float = 1.0
    """Size of what columns have of their own"""
    target: str = "common"
    """Whether y is made of the "common" factors or of the "own" parts of the columns"""
    spread: float = 0.0
    """Columns differ in scale by so many powers of ten"""
    constant: bool = False
    """Whether a column is constant"""
    shrink_to: str = "zero"
    no_bin: float = 0.0
    """Share of rows in no bin"""
    source: str = "C"
    way: str = "fit"
    n_batches: int = 2
    coef_dtype: str = "f8"
    """The dtype that `fit_moments` is given"""

    def __repr__(self):
        given = (f for f in fields(self) if getattr(self, f.name) != f.default)
        return f"Case({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in given)})"

    @property
    def limit(self):
        """The largest error that passes, by rule 1."""
        excess = max(self.shift, self.distance) / FREE_SHIFT if self.dtype == "f8" else 1.0
        return LIMITS[self.dtype] * max(excess, 1.0)


def draw(seed: int) -> Case:
    """Draw the case of a seed."""
    rng = np.random.default_rng([seed, 19])
    pick, chance = rng.choice, rng.random

    def power(low, high, share=1.0, otherwise=1.0):
        return float(f"{10 ** rng.uniform(low, high):.3g}") if chance() < share else otherwise

    shape = pick(["tall", "mid", "wide", "near", "rows", "long", "in turn", "mixed"],
                 p=[0.3, 0.2, 0.12, 0.14, 0.2, 0.015, 0.02, 0.005])  # fmt: skip
    low, high, ratio = {
        "tall": (1, 13, (5, 30)),
        "mid": (20, 60, (2, 6)),
        "wide": (20, 128, (0.2, 0.9)),
        "near": (10, 160, (0.9, 1.15)),
        "rows": (128, 300, (0.2, 1.0)),
        "long": (1, 4, (0, 0)),
        "in turn": (513, 540, (0.5, 1.4)),
        "mixed": (1025, 1040, (0.5, 1.1)),
    }[shape]
    d = int(rng.integers(low, high))
    n = int(max(12, d * rng.uniform(*ratio))) if shape != "long" else int(rng.integers(33_000, 40_000))
    dtype = str(pick(["f4", "f8"]))
    far = 3 if dtype == "f4" else 8
    apart = str(pick(["", "bins", "order"], p=[0.6, 0.25, 0.15]))
    has_factors = d > 4 and chance() < 0.35
    way = str(pick(WAYS, p=[0.3, 0.05, 0.15, 0.15, 0.1, 0.08, 0.07, 0.1]))
    # A small bin whose rows lie in one fold is an error of its own kind.
    most_bins = 6 if way != "fit alphas" else 2 if n > 100 else 1
    return Case(
        seed=seed,
        n=n,
        d=d,
        n_bins=int(rng.integers(1, most_bins + 1)),
        n_targets=int(pick([1, 2], p=[0.7, 0.3])),
        dtype=dtype,
        scale_x=power(-30, 30, 0.4),
        scale_y=power(-30, 30, 0.3),
        offset_y=power(0, 7, 0.3, 0.0),
        shift=power(-1, far, 0.5, 0.0),
        apart=apart,
        distance=power(0, far) if apart else 0.0,
        weights=str(pick(["", "uniform", "wide", "zeros"], p=[0.5, 0.2, 0.15, 0.15])),
        penalty=power(-9, 1),
        rank=int(rng.integers(1, 9)) if has_factors else 0,
        noise=power(-4, 0) if has_factors else 1.0,
        target=str(pick(["common", "own"])) if has_factors else "common",
        spread=float(pick([0.0, 1.0, 3.0], p=[0.7, 0.2, 0.1])),
        constant=d > 1 and bool(chance() < 0.1),
        shrink_to=str(pick(["zero", "global"], p=[0.75, 0.25])),
        no_bin=float(pick([0.0, 0.15])),
        source=str(pick(SOURCES)),
        way=way,
        n_batches=int(rng.integers(2, 5)),
        coef_dtype=str(pick(["f8", dtype])),
    )


@dataclass
class Rows:
    """Rows of a case, in the precision of its X."""

    X: np.ndarray
    y: np.ndarray
    bins: np.ndarray
    weights: np.ndarray | None

    def __getitem__(self, part):
        weights = None if self.weights is None else self.weights[part]
        return Rows(self.X[part], self.y[part], self.bins[part], weights)


def rows_of(case: Case) -> tuple[Rows, Rows, Rows]:
    """Rows to fit, rows that are added and subtracted again, and new rows."""
    rng = np.random.default_rng(case.seed)
    n, d, more = case.n, case.d, case.n // 3 + 1
    N = n + more + N_NEW
    frequency = 1 / (1 + np.arange(case.n_bins)) ** rng.uniform(0, 3)
    bins = rng.choice(case.n_bins, N, p=frequency / frequency.sum())
    # New rows are of bins with rows to fit: others would lie anywhere.
    bins[n + more :] = rng.choice(bins[:n], N_NEW)
    own, factors = rng.normal(size=(N, d)), rng.normal(size=(N, max(case.rank, 1)))
    loadings = rng.normal(size=(max(case.rank, 1), d))
    X = factors @ loadings + case.noise * own if case.rank else case.noise * own
    seen = own if case.target == "own" or not case.rank else factors
    slopes = rng.normal(size=(case.n_bins, seen.shape[1], case.n_targets))
    y = np.einsum("id,idt->it", seen, slopes[bins]) / np.sqrt(seen.shape[1])
    y += 0.1 * rng.normal(size=y.shape)
    bins[rng.random(N) < case.no_bin] = -1
    X = X + case.shift * rng.uniform(-1, 1, d)
    places = rng.uniform(-1, 1, (case.n_bins + 1, d))
    at = rng.permutation(np.linspace(0, 1, N))
    at[: n + more] = np.linspace(0, 1, n + more)
    if case.way == "subtract":  # what is taken away lies apart
        at = np.repeat([0.0, 1.0, 0.0], [n, more, N_NEW])
    if case.apart == "bins":
        X += case.distance * places[bins]
    elif case.apart == "order":
        X += case.distance * at[:, None] * places[-1]
    sizes = case.scale_x * 10 ** (case.spread * rng.uniform(-0.5, 0.5, d))
    if case.constant:
        X[:, d // 2] = 1 + case.shift
    kind = rng.uniform(0, 1, (2, N))
    weights = {
        "": None,
        "uniform": 0.5 + kind[0],
        "wide": 10 ** (12 * kind[0] - 6),
        "zeros": np.where(kind[1] < 0.3, 0.0, 0.5 + kind[0]),
    }[case.weights]
    target_sizes = case.scale_y * 10.0 ** np.array([0, 2])[: case.n_targets]
    y = target_sizes * (y + case.offset_y)
    if case.n_targets == 1:
        y = y[:, 0]
    rows = Rows((X * sizes).astype(case.dtype), y, bins, weights)
    return rows[:n], rows[n : n + more], rows[n + more :]


class Exact:
    """The ridges of all rows and of each bin, by singular value decompositions, and their alpha."""

    def __init__(self, rows: Rows, penalty: float, shrink: bool):
        self.shrink = shrink
        weights = np.ones(len(rows.X)) if rows.weights is None else rows.weights
        used = weights > 0
        bins, weights = rows.bins[used], weights[used]
        # Differences from a row are exact where columns lie far from 0.
        self.x0, self.y0 = rows.X[used][0].astype(float), rows.y[used][0]
        D, E = rows.X[used] - self.x0, (rows.y[used] - self.y0).reshape(len(bins), -1)
        labels, counts = np.unique(bins, return_counts=True)
        parts = {k: bins == k for k in labels.tolist()}
        self.decomposed = decomposed = {None: _decomposed(D, E, weights)}
        decomposed |= {k: _decomposed(D[part], E[part], weights[part]) for k, part in parts.items()}
        within = sum((found[2] ** 2).sum() for k, found in decomposed.items() if k is not None)
        largest = max(found[2].max(initial=0.0) for found in decomposed.values())
        self.alpha = float(max(penalty * within / D.shape[1], 1.01 * largest**2 / WORST_CONDITION))
        self.models = {None: _ridge(*decomposed[None], self.alpha)}
        prior = self.models[None][0] if self.shrink else 0.0
        for k, count in zip(labels.tolist(), counts, strict=True):
            if k >= 0 and count >= MIN_BIN_ROWS:
                self.models[k] = _ridge(*decomposed[k], self.alpha, prior)
        self.experts = [k for k in self.models if k is not None]

    def predict(self, rows: Rows, bins=None):
        """Predictions less `y0`, with the models of bins or with the global one."""
        D = rows.X - self.x0
        labels = [None] * len(D) if bins is None else bins.tolist()
        predictions = []
        for row, label in zip(D, labels, strict=True):
            coef, x_mean, y_mean = self.models.get(label, self.models[None])
            predictions.append((row - x_mean) @ coef + y_mean)
        return np.stack(predictions)

    def rounding(self, rows: Rows):
        """Largest errors of predictions that float64 products make: of the experts, and of the global model.

        Rounding E of X'X, drawn relative to the lengths of the columns, moves w by (X'X + alpha I)^-1 E w.
        Where there are no more rows than columns, rounding of the kernel X X' of a model's rows counts too.
        """
        rng, alpha, D = np.random.default_rng(0), self.alpha, rows.X - self.x0
        largest = [np.zeros(self.y0.size), np.zeros(self.y0.size)]
        for k, (coef, x_mean, _) in self.models.items():
            A, U, s, V, z, *_ = self.decomposed[k]
            right = _rounding_of_products(A, coef, z, rng)
            within = V @ right
            moved = [V.T @ (within / (s**2 + alpha)[:, None] - within / alpha) + right / alpha]
            if len(A) <= len(coef):
                right = _rounding_of_products(A.T, (z - A @ coef) / alpha, np.zeros((1, 1)), rng)
                moved.append(V.T @ ((s / (s**2 + alpha))[:, None] * (U.T @ right)))
            own = slice(None) if k is None else rows.bins == k
            for change in moved:
                errors = np.abs((D[own] - x_mean) @ change).max(axis=0, initial=0.0)
                largest[k is None] = np.maximum(largest[k is None], errors)
        if self.shrink:
            largest[0] = np.maximum(*largest)
        return largest


def _rounding_of_products(A, v, z, rng):
    """A draw of E v + e, the rounding of A'A v and of A'z."""
    lengths, E = np.sqrt((A**2).sum(axis=0))[:, None], rng.normal(size=(A.shape[1],) * 2)
    of_z = np.sqrt((z**2).sum(axis=0)) * rng.normal(size=v.shape)
    return np.finfo(float).eps * lengths * ((E + E.T) @ (lengths * v) + of_z)


def _decomposed(D, E, weights):
    """Centred rows times the roots of their weights, A = U diag(s) V', the targets like them, and means."""
    shares = weights / weights.sum()
    x_mean, y_mean = shares @ D, shares @ E
    x_mean, y_mean = x_mean + shares @ (D - x_mean), y_mean + shares @ (E - y_mean)
    roots = np.sqrt(weights)[:, None]
    A, z = roots * (D - x_mean), roots * (E - y_mean)
    U, s, V = svd(A, full_matrices=False)
    return A, U, s, V, z, x_mean, y_mean


def _ridge(A, U, s, V, z, x_mean, y_mean, alpha, prior=0.0):
    """Coefficients (d, n_targets) nearest to the prior in ridge's sense, and the means."""
    if np.ndim(prior):
        z = z - A @ prior
    return prior + V.T @ ((s / (s**2 + alpha))[:, None] * (U.T @ z)), x_mean, y_mean


def source_of(kind: str, X, folder: Path):
    """Rows as the source of a kind."""
    if kind == "memmap":
        path = folder / f"{len(list(folder.iterdir()))}.dat"
        np.memmap(path, X.dtype, "w+", shape=X.shape)[:] = X
        return np.memmap(path, X.dtype, "r", shape=X.shape)
    cut = len(X) // 3
    return {
        "C": lambda: X,
        "F": lambda: np.asfortranarray(X),
        "shards": lambda: [X[:cut], X[cut:]],
        "on disk": lambda: OnDisk(X),
        "csr": lambda: sparse.csr_matrix(X),
        "frame": lambda: pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])]),
        "big-endian": lambda: X.astype(X.dtype.newbyteorder(">")),
    }[kind]()


def fitted(case: Case, alpha: float, rows: Rows, more: Rows, make) -> BinnedRidgeExperts:
    """Experts fitted in the way of a case; `make` makes the sources."""
    options = {"shrink_to": case.shrink_to, "small_bins": "drop", "min_bin_rows": MIN_BIN_ROWS}
    options |= {"alphas": [alpha]} if case.way == "fit alphas" else {"alpha": alpha}
    model = BinnedRidgeExperts(**options)
    if case.way in ("fit", "fit alphas"):
        return model.fit(make(rows.X), rows.y, bins=rows.bins, sample_weight=rows.weights)
    cuts = np.linspace(0, len(rows.X), case.n_batches + 1).astype(int)
    parts = [rows[start:stop] for start, stop in pairwise(cuts)]
    batches = [(make(part.X), part.y, part.bins, part.weights) for part in parts]
    if case.way == "fit_batches":
        return model.fit_batches(batches)
    if case.way == "partial_fit":
        for X, y, bins, weights in batches:
            model.partial_fit(X, y, bins=bins, sample_weight=weights)
        return model
    return model.fit_moments(moments_of(case, batches, more, make), dtype=np.dtype(case.coef_dtype))


def moments_of(case: Case, batches, more: Rows, make) -> BinnedMoments:
    """Moments of the rows, by one of the ways to come to them."""
    if case.way == "accumulate":
        return accumulate(batches)
    batches = [(_array_of(X), *others) for X, *others in batches]
    added = [BinnedMoments(case.d, case.n_targets).update(*batch) for batch in batches]
    if case.way == "save and load":
        with tempfile.TemporaryDirectory() as folder:
            for number, part in enumerate(added):
                part.save(Path(folder, str(number)))
            added = [BinnedMoments.load(Path(folder, str(number))) for number in range(len(added))]
    whole = added[0]
    for part in added[1:]:
        whole.merge(part)
    if case.way != "subtract":
        return whole
    part = (_array_of(make(more.X)), more.y, more.bins, more.weights)
    return whole.update(*part).subtract(BinnedMoments(case.d, case.n_targets).update(*part))


def _array_of(X):
    """The array of a frame; only public functions take frames."""
    return X.to_numpy() if isinstance(X, pd.DataFrame) else X


@dataclass
class Outcome:
    """What came of a case."""

    case: Case
    alpha: float = 0.0
    errors: tuple = (np.inf, np.inf)
    """Largest errors of the experts and of the global model, in standard deviations of y"""
    rounding: tuple = (0.0, 0.0)
    """What float64 products make of these, roughly"""
    warned: list = field(default_factory=list)
    raised: Exception | None = None
    rounding_allowed: float = ROUNDING_ALLOWED

    @property
    def allowed(self):
        """The largest errors that pass."""
        share = self.rounding_allowed if self.case.dtype == "f8" else 0.0
        return tuple(max(self.case.limit, share * rounding) for rounding in self.rounding)

    @property
    def is_right(self):
        """Whether all predictions are right."""
        within = all(error <= most for error, most in zip(self.errors, self.allowed, strict=True))
        return self.raised is None and within

    @property
    def is_nearly_right(self):
        """Whether all predictions are off by no more than NEARLY times what is allowed."""
        nearly = NEARLY[self.case.dtype]
        within = all(error <= nearly * most for error, most in zip(self.errors, self.allowed, strict=True))
        return self.raised is None and within

    @property
    def says_so(self):
        """Whether a warning or an error names the way out."""
        needed = re.compile("product_dtype") if self.case.dtype == "f4" else WAY_OUT
        words = [str(self.raised)] if isinstance(self.raised, ValueError) else []
        for warning in self.warned:
            text, of_scipy = str(warning.message), issubclass(warning.category, LinAlgWarning)
            if issubclass(warning.category, UserWarning) or (of_scipy and "product_dtype" in text):
                words.append(text)
        return any(map(needed.search, words))

    @property
    def passes(self):
        """Whether the case keeps the rule at the top of this file."""
        may_say_so = self.case.way not in READ_AGAIN and (
            self.case.dtype == "f4" or self.case.way == "subtract"
        )
        return self.is_right or (may_say_so and self.says_so)

    def __str__(self):
        said = [f"{w.category.__name__}: {str(w.message)[:60]}" for w in self.warned]
        said += [f"{type(self.raised).__name__}: {self.raised}"] if self.raised else []
        errors = [f"{error:.1e} of {most:.1e}" for error, most in zip(self.errors, self.allowed, strict=True)]
        off = "" if self.raised else f"experts {errors[0]} sd(y), global {errors[1]}; "
        return f"{off}{'; '.join(dict.fromkeys(said)) or 'nothing said'}; {self.case!r}"


def run(case: Case, rounding_allowed: float = ROUNDING_ALLOWED) -> Outcome:
    """Fit the rows of a case and compare."""
    rows, more, new = rows_of(case)
    exact = Exact(rows, case.penalty, case.shrink_to == "global")
    outcome = Outcome(case, exact.alpha, rounding_allowed=rounding_allowed)
    spread = np.std(rows.y - exact.y0, axis=0)
    outcome.rounding = tuple(float((part / spread).max()) for part in exact.rounding(new))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make = partial(source_of, case.source, folder=Path(folder))
        try:
            model = fitted(case, exact.alpha, rows, more, make)
            # Moments know no names of columns.
            X = make(new.X) if hasattr(model, "feature_names_in_") else _array_of(make(new.X))
            found = [model.predict(X, bins=bins) for bins in (new.bins, None)]
        except Exception as error:
            outcome.raised, found = error, []
    outcome.warned = caught
    if found:
        wanted = [exact.predict(new, bins).reshape(new.y.shape) for bins in (new.bins, None)]
        off = [np.abs(got - exact.y0 - of) / spread for got, of in zip(found, wanted, strict=True)]
        # A row without an expert has the prediction of the global model, as one of another product.
        has_expert = np.isin(new.bins, exact.experts)
        off = off[0][has_expert], np.concatenate([off[1], off[0][~has_expert]])
        outcome.errors = tuple(float(np.nan_to_num(part, nan=np.inf).max(initial=0.0)) for part in off)
    return outcome
