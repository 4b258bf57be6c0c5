"""Thirty small fits through public names, and the file with the numbers that they gave.

    python tests/support/golden_fits.py --write

writes tests/stored/golden_fits.npz anew, and names the fits whose numbers changed: for changes of
numbers that are meant, never to silence a test of a change that is not.

Wherever an estimator has folds, they are given. So the numbers do not depend on default numbers of folds.
"""

import argparse
import json
import platform
import tempfile
from pathlib import Path

import numpy as np
import scipy
import sklearn
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from moe_sklearn import (
    BinnedPLSExperts,
    BinnedRidgeExperts,
    ClusterBinner,
    GateFeatureTransformer,
    GridBinner,
    SoftGateMoERegressor,
    accumulate,
    gate_rows,
    moe_learning_curve,
    noise_curve,
    oracle_headroom,
    regime_value,
)

STORED = Path(__file__).parents[1] / "stored" / "golden_fits.npz"
FINGERPRINT = "fingerprint"
MODES = ("global", "hard", "soft", "oracle")

# Largest differences allowed with the versions, processor and BLAS of the file, and elsewhere. All y and
# columns of X have a standard deviation of 1. Runs in one place differ by nothing. Elsewhere (OpenBLAS told
# to be on three other processors, the oldest versions) linear models differ by less than 1e-13, those in
# float32 by 1e-6, the logistic gate by 1e-13, as its solver takes the same steps, and networks by 1.3e-5:
# they are trained in float32, and its rounding grows from step to step. A solver of scikit-learn that stops
# a step earlier would move the logistic gate by up to 1e-3: write the file anew then.
TOLERANCES = {
    "linear": (1e-9, 1e-9),
    "float32": (1e-5, 1e-5),
    "logistic": (1e-9, 1e-5),
    "networks": (1e-9, 1e-4),
}
FITS = {}


def golden(kind):
    """Enter a function without arguments, which returns arrays by name, in the table `FITS`."""

    def register(function):
        FITS[function.__name__] = kind, function
        return function

    return register


# --- data ---


class Rows:
    """Training rows, the first 30 of them in no bin, and test rows, with three regimes of slopes."""

    def __init__(self, n=330, n_features=16, n_test=50, n_targets=1, dtype=np.float64, shift=0.0):
        rng = np.random.default_rng(0)
        n_all = n + n_test
        hidden = rng.normal(size=(n_all, 5))
        X = hidden @ rng.normal(size=(5, n_features)) + rng.normal(size=(n_all, n_features))
        side = hidden[:, :2] + 0.3 * rng.normal(size=(n_all, 2))
        bins = np.digitize(side[:, 0], [-0.5, 0.5])
        slopes = rng.normal(size=(3, 5, n_targets))
        y = np.einsum("nj,njt->nt", hidden, slopes[bins]) + 0.3 * rng.normal(size=(n_all, n_targets))
        # of sd 1, so that one scale serves all tolerances
        X, y = StandardScaler().fit_transform(X) + shift, StandardScaler().fit_transform(y)
        X, y = X.astype(dtype), y[:, 0] if n_targets == 1 else y
        bins[: n // 11] = -1
        self.X, self.y, self.bins, self.side = X[:n], y[:n], bins[:n], side[:n]
        self.X_test, self.y_test, self.bins_test, self.side_test = X[n:], y[n:], bins[n:], side[n:]
        self.weight = rng.integers(0, 4, n) / 2.0
        self.parts = [slice(start, start + n // 5) for start in range(0, n // 5 * 5, n // 5)]

    def shards(self):
        """The rows in five batches of (X, y, bins)."""
        return [(self.X[part], self.y[part], self.bins[part]) for part in self.parts]


def of_experts(experts, rows):
    """What fitted experts hold and predict."""
    return {
        "coef": experts.coef_,
        "intercept": experts.intercept_,
        "global_coef": experts.global_coef_,
        "global_intercept": experts.global_intercept_,
        "bins": experts.bins_,
        "bin_count": experts.bin_count_,
        "oracle": experts.predict(rows.X_test, bins=rows.bins_test),
        "global": experts.predict(rows.X_test),
    }


def of_mixture(model, rows):
    """What a fitted mixture predicts, in all modes."""
    predicted = {mode: model.predict(rows.X_test, mixing=mode, bins=rows.bins_test) for mode in MODES}
    return {**predicted, "proba": model.gate_proba(rows.X_test), "weights": model.expert_weights(rows.X_test)}


def of_report(report):
    """The scores of a report, over all rows and by bin."""
    return {
        "r2": [report.r2[mode] for mode in MODES],
        "rho": [report.rho["hard"], report.rho["soft"]],
        "rho_interval": [report.rho_interval["hard"], report.rho_interval["soft"]],
        "coverage": [report.coverage, report.train_coverage],
        "routing_accuracy": report.routing_accuracy,
        "bin_names": list(report.bin_names),
        "confusion": report.confusion,
        "mean_proba": report.gate_proba,
        **{f"bins_{name}": column for name, column in report.bins.items()},
    }


def of_curve(curve):
    """The scores of a learning curve or a noise curve."""
    return {
        "r2": [curve.r2[mode] for mode in MODES],
        "rho": [curve.rho[mode] for mode in ("hard", "soft")],
        "routing_accuracy": [report.routing_accuracy for report in curve.reports],
    }


def networks(experts, **parameters):
    """A mixture with few small networks."""
    model = SoftGateMoERegressor(experts, gate="regression", random_state=0, **parameters)
    return model.set_params(gate__hidden_layer_size=8, gate__n_restarts=2, gate__max_iter=10)


# --- ridges ---


@golden("linear")
def ridges_of_many_rows():
    rows = Rows()
    experts = BinnedRidgeExperts(2.0, global_alpha=5.0).fit(rows.X, rows.y, bins=rows.bins)
    return {**of_experts(experts, rows), "all_models": experts.transform(rows.X_test)}


@golden("linear")
def ridges_of_few_rows():
    rows = Rows(66, 90)
    return of_experts(BinnedRidgeExperts(0.5).fit(rows.X, rows.y, bins=rows.bins), rows)


@golden("linear")
def ridges_with_weights():
    rows = Rows()
    experts = BinnedRidgeExperts(1.0).fit(rows.X, rows.y, bins=rows.bins, sample_weight=rows.weight)
    return {**of_experts(experts, rows), "score": experts.score(rows.X, rows.y, rows.weight, bins=rows.bins)}


@golden("float32")
def ridges_in_float32():
    rows = Rows(dtype=np.float32)
    return of_experts(BinnedRidgeExperts(10.0).fit(rows.X, rows.y, bins=rows.bins), rows)


@golden("float32")
def ridges_in_float32_far_from_zero():
    rows = Rows(dtype=np.float32, shift=50.0)
    experts = BinnedRidgeExperts(10.0).fit(rows.X, rows.y, bins=rows.bins)
    # intercepts at 0 are some hundreds, and as uncertain as 50 times the coefficients
    parts = of_experts(experts, rows)
    return {name: part for name, part in parts.items() if "intercept" not in name} | {"at": experts.origin_}


@golden("linear")
def ridges_with_a_penalty_each():
    rows = Rows(110)
    experts = BinnedRidgeExperts(alphas=np.logspace(-2, 4, 7), cv=5).fit(rows.X, rows.y, bins=rows.bins)
    return {
        **of_experts(experts, rows),
        "alpha": experts.alpha_,
        "global_alpha": experts.global_alpha_,
        "scores": experts.cv_results_["mean_test_score"],
    }


@golden("linear")
def ridges_with_the_best_of_many_penalties():
    rows = Rows(110)
    experts = BinnedRidgeExperts(alphas=np.logspace(-2, 3, 25), cv=5)
    experts.fit(rows.X, rows.y, bins=rows.bins, sample_weight=0.5 + rows.weight)
    return {
        **of_experts(experts, rows),
        "alpha": experts.alpha_,
        "scores": experts.cv_results_["mean_test_score"],
    }


@golden("linear")
def ridges_drawn_to_the_global_one():
    rows = Rows(66)
    experts = BinnedRidgeExperts({0: 3.0, 1: 30.0, 2: 300.0}, shrink_to="global")
    return of_experts(experts.fit(rows.X, rows.y, bins=rows.bins), rows)


@golden("linear")
def ridges_without_small_bins():
    rows = Rows()
    names = np.array(["cool", "mild", "hot", "none"], object)[rows.bins]
    names[rows.bins < 0] = None
    names[-4:] = "rare"
    experts = BinnedRidgeExperts(1.0, min_bin_rows=5, small_bins="drop").fit(rows.X, rows.y, bins=names)
    rows.bins_test = np.array(["cool", "mild", "rare"])[rows.bins_test]
    return of_experts(experts, rows)


@golden("linear")
def ridges_with_a_side_column():
    rows = Rows()
    X = np.column_stack([rows.X, rows.bins])
    experts = BinnedRidgeExperts(1.0, side_columns=-1).fit(X, rows.y)
    X_test = np.column_stack([rows.X_test, rows.bins_test])
    return {**of_experts(experts, rows), "with_column": experts.predict(X_test)}


@golden("linear")
def ridges_in_batches():
    rows = Rows()
    weights = [rows.weight[part] for part in rows.parts]
    batches = [(*shard, weight) for shard, weight in zip(rows.shards(), weights, strict=True)]
    return of_experts(BinnedRidgeExperts().fit_batches(batches), rows)


@golden("linear")
def ridges_that_grow():
    rows, experts = Rows(), BinnedRidgeExperts(1.0)
    known = np.where(rows.bins[:150] == 2, -1, rows.bins[:150])
    experts.partial_fit(rows.X[:150], rows.y[:150], bins=known)
    before = {f"before_{name}": part for name, part in of_experts(experts, rows).items()}
    experts.partial_fit(rows.X[150:], rows.y[150:], bins=rows.bins[150:], x_std=0.1)
    return {**before, **of_experts(experts, rows)}


@golden("linear")
def ridges_of_saved_moments():
    rows = Rows()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "moments.npz"
        accumulate(rows.shards()[:3], path)
        moments = accumulate(rows.shards(), path)
        moments = type(moments).load(path)
    whole = moments.pool()
    return {
        **of_experts(BinnedRidgeExperts(1.0).fit_moments(moments), rows),
        "n_rows": moments.n_rows,
        "x_mean": whole.x_mean,
        "covariance": np.tril(whole.covariance()),
    }


@golden("linear")
def ridges_for_noisy_rows():
    rows = Rows()
    x_std = np.abs(rows.X) / 2
    even = BinnedRidgeExperts(1.0).fit(rows.X, rows.y, bins=rows.bins, x_std=np.linspace(0, 1, 16))
    uneven = BinnedRidgeExperts(1.0).fit(
        rows.X, rows.y, bins=rows.bins, x_std=x_std, sample_weight=rows.weight
    )
    return {**of_experts(even, rows), "uneven_coef": uneven.coef_, "uneven_global_coef": uneven.global_coef_}


@golden("linear")
def ridges_of_two_targets():
    rows = Rows(n_targets=2)
    return of_experts(BinnedRidgeExperts([1.0, 2.0, 3.0]).fit(rows.X, rows.y, bins=rows.bins), rows)


# --- partial least squares, features, binners ---


@golden("linear")
def pls_experts():
    rows = Rows()
    experts = BinnedPLSExperts(3, global_n_components=5).fit(
        rows.X, rows.y, bins=rows.bins, sample_weight=rows.weight
    )
    return of_experts(experts, rows)


@golden("linear")
def pls_experts_with_numbers_of_their_own():
    rows = Rows(110, n_targets=2)
    experts = BinnedPLSExperts(max_components=5, scale=False, cv=5).fit(rows.X, rows.y, bins=rows.bins)
    scores = experts.cv_results_["mean_test_score"]
    return {**of_experts(experts, rows), "n_components": experts.n_components_, "scores": scores}


@golden("linear")
def gate_features():
    """Scores and axes up to sign; their product, which has none, says that the signs belong together."""
    rows, wavelength = Rows(n_features=40), np.linspace(8150.0, 8850.0, 40)
    X, X_test = 5 + rows.X, 5 + rows.X_test[:10]
    features = GateFeatureTransformer(4, wavelength=wavelength).fit(X, sample_weight=rows.weight)
    scores, lines = np.split(features.transform(X_test), [4], axis=1)
    return {
        "axes": np.abs(features.components_),
        "scores": np.abs(scores),
        "explained_variance": features.explained_variance_,
        "mean": features.mean_,
        "approximation": scores @ features.components_,
        "lines": lines,
        "names": features.get_feature_names_out(),
    }


@golden("linear")
def labels_of_a_grid():
    rows = Rows()
    quantiles = GridBinner([3, 2]).fit(rows.side)
    edges = GridBinner(edges=[[-1.0, 0.0, 1.0], [-0.5, 0.0, 2.0]], outside="drop").fit(rows.side)
    return {
        "quantiles": quantiles.transform(rows.side_test),
        "names": quantiles.bin_names_,
        "edges": edges.transform(rows.side_test),
        "weighted": GridBinner([3, 2]).fit(rows.side, sample_weight=rows.weight).transform(rows.side_test),
    }


@golden("linear")
def labels_of_clusters():
    rows = Rows()
    # far apart, so that rounding moves no row from one to another
    X, X_test = (
        np.column_stack([X, 9.0 * bins]) for X, bins in [(rows.X, rows.bins), (rows.X_test, rows.bins_test)]
    )
    binner = ClusterBinner(3, features=GateFeatureTransformer(3), random_state=0).fit(20 * X)
    return {"labels": binner.transform(20 * X), "labels_test": binner.transform(20 * X_test)}


# --- mixtures with a logistic gate ---


@golden("logistic")
def logistic_mixture():
    rows = Rows()
    model = SoftGateMoERegressor(BinnedRidgeExperts(1.0), gate="logistic", random_state=0).fit(
        rows.X, rows.y, bins=rows.bins
    )
    parts = model.contributions(rows.X_test[:10])
    return {
        **of_mixture(model, rows),
        "experts": model.predict_experts(rows.X_test),
        "local_coef": model.local_coef(rows.X_test[:10]),
        "contributions": parts.values,
        "base_values": parts.base_values,
    }


@golden("logistic")
def logistic_report():
    rows = Rows()
    model = SoftGateMoERegressor(
        BinnedRidgeExperts(1.0), gate="logistic", binner=GridBinner([2, 2]), random_state=0
    )
    model.fit(rows.X, rows.y, bins=rows.side, sample_weight=0.5 + rows.weight)
    report = model.evaluate(rows.X_test, rows.y_test, bins=rows.side_test, n_resamples=50, errors=True)
    errors = {f"{name}_{mode}": value for mode, of in report.errors.items() for name, value in of.items()}
    return {**of_report(report), **errors, "alpha": model.expert_table()["alpha"]}


@golden("logistic")
def logistic_intervals():
    rows = Rows()
    experts = BinnedRidgeExperts(10.0)
    inputs = ("features", "discriminants", "experts")
    model = SoftGateMoERegressor(experts, gate="logistic", gate_inputs=inputs, random_state=0)
    model.fit(rows.X[:250], rows.y[:250], bins=rows.bins[:250])
    model.calibrate(rows.X[250:], rows.y[250:])
    return {
        **of_mixture(model, rows),
        "inputs": model.gate_inputs_of(rows.X_test[:10]),
        "std": model.predict(rows.X_test, return_std=True)[1],
        "interval": model.predict_interval(rows.X_test, coverage=0.8),
        "residual_variance": model.residual_variance_,
    }


@golden("logistic")
def logistic_mixture_of_pls_and_two_targets():
    rows = Rows(n_targets=2)
    experts = BinnedPLSExperts(max_components=4, cv=5)
    model = SoftGateMoERegressor(experts, gate="logistic", gate_inputs="features", random_state=0)
    return of_mixture(model.fit_batches(rows.shards()), rows)


# --- mixtures with networks ---


@golden("networks")
def networks_of_cross_fitted_inputs():
    rows = Rows()
    model = networks(BinnedRidgeExperts(1.0)).fit(rows.X, rows.y, bins=rows.bins)
    report = model.evaluate(rows.X_test, rows.y_test, bins=rows.bins_test, n_resamples=50)
    return {**of_mixture(model, rows), **of_report(report), "anchors": model.anchors_}


@golden("networks")
def networks_of_shards():
    """The shards are the folds. Intervals are by bin."""
    rows = Rows(n_targets=2)
    model = networks(BinnedRidgeExperts(1.0), gate_inputs=("features", "experts"))
    model.fit_moments(
        [accumulate([shard]) for shard in rows.shards()], gate_rows([[s] for s in rows.shards()])
    )
    model.calibrate(rows.X, rows.y, per_bin=True)
    interval = model.predict_interval(rows.X_test[:20], coverage=0.8)
    return {**of_mixture(model, rows), "interval": interval, "variance": model.residual_variance_}


@golden("networks")
def networks_for_noisy_rows_in_float32():
    rows = Rows(dtype=np.float32)
    model = networks(BinnedRidgeExperts(10.0), n_noise_draws=2)
    model.fit(rows.X, rows.y, bins=rows.bins, x_std=0.3, sample_weight=0.5 + rows.weight)
    return of_mixture(model, rows)


# --- studies ---


@golden("linear")
def headroom():
    rows = Rows()
    known = oracle_headroom(rows.X, rows.y, bins=rows.bins, alpha=2.0, cv=5, sample_weight=rows.weight)
    noisy = oracle_headroom(rows.X, rows.y, bins=rows.side, alpha=1.0, cv=5, binner=GridBinner(2), x_std=0.5)
    parts = ("split_r2_global", "split_r2_oracle", "headroom")
    return {part: known[part] for part in parts} | {f"noisy_{part}": noisy[part] for part in parts}


@golden("logistic")
def value_of_regimes():
    rows = Rows(220)
    model = SoftGateMoERegressor(
        BinnedRidgeExperts(1.0), gate="logistic", binner=GridBinner(2), random_state=0
    )
    value = regime_value(model, rows.X, rows.y, bins=rows.side, cv=5, n_shuffles=2, random_state=0)
    lines = list(value.r2)
    return {
        "lines": lines,
        "r2": [[value.r2[line][mode] for mode in MODES] for line in lines],
        "fold_r2": [value.fold_r2[line]["soft"] for line in lines],
        "shuffled_r2": value.shuffled_r2,
        "p_value": value.p_value,
        "lost_without": value.columns["lost_without"],
    }


@golden("logistic")
def curves():
    """Scores against rows and against noise."""
    rows = Rows()
    test = {"X_test": rows.X_test, "y_test": rows.y_test, "bins_test": rows.bins_test, "random_state": 0}
    model = SoftGateMoERegressor(BinnedRidgeExperts(1.0), gate="logistic", random_state=0)
    of_rows = moe_learning_curve(model, rows.X, rows.y, bins=rows.bins, train_sizes=[150, 330], **test)
    model.set_params(experts=BinnedRidgeExperts())
    noise = noise_curve(model, rows.X, rows.y, bins=rows.bins, x_std=0.4, levels=[0, 1, 2], **test)
    return {**of_curve(of_rows), **{f"noise_{name}": part for name, part in of_curve(noise).items()}}


# --- the file ---


def run(name):
    """The arrays of a fit, with one BLAS thread: their number changes the order of sums."""
    with threadpool_limits(1, "blas"):
        parts = FITS[name][1]()
    parts = {part: np.asarray(value) for part, value in parts.items()}
    # texts as such, which are read without pickle
    return {part: value.astype(str) if value.dtype == object else value for part, value in parts.items()}


def fingerprint():
    """What rounding depends on: versions, processor and BLAS."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    keys = ("internal_api", "version", "architecture")
    libraries = [info for info in threadpool_info() if info["user_api"] == "blas"]
    return {
        "versions": {module.__name__: module.__version__ for module in (np, scipy, sklearn)},
        "processor": [platform.machine(), *models[:1]],
        "blas": sorted([str(info.get(key)) for key in keys] for info in libraries),
    }


def read():
    """The stored fingerprint, and the stored arrays by fit and part."""
    with np.load(STORED, allow_pickle=False) as file:
        arrays = dict(file)
    stored = {}
    written_on = json.loads(arrays.pop(FINGERPRINT).item())
    for key, array in arrays.items():
        name, part = key.split("/")
        stored.setdefault(name, {})[part] = array
    return written_on, stored


def write(fits):
    arrays = {f"{name}/{part}": array for name, parts in fits.items() for part, array in parts.items()}
    np.savez_compressed(STORED, allow_pickle=False, **arrays, **{FINGERPRINT: json.dumps(fingerprint())})


def difference(actual, expected):
    """Largest difference, in units of 1 or of the largest number, if that is larger; inf if not alike."""
    if expected.dtype.kind != "f":
        # the width of integers is that of the system
        alike = actual.dtype.kind == expected.dtype.kind and np.array_equal(actual, expected)
        return 0.0 if alike else np.inf
    if (actual.dtype, actual.shape) != (expected.dtype, expected.shape):
        return np.inf
    finite = np.isfinite(expected)
    if not np.array_equal(actual[~finite], expected[~finite], equal_nan=True):
        return np.inf
    actual, expected = actual[finite].astype(float), expected[finite].astype(float)
    error = np.abs(actual - expected).max(initial=0.0)
    return error / np.abs(expected).max(initial=1.0) if np.isfinite(error) else np.inf


def differences(actual, expected):
    """`difference` of each part; a part that one side lacks differs by inf."""
    parts = sorted(actual.keys() | expected.keys())
    common = actual.keys() & expected.keys()
    return {part: difference(actual[part], expected[part]) if part in common else np.inf for part in parts}


def tolerance(name, written_on):
    """Largest difference allowed in a fit, here."""
    here, elsewhere = TOLERANCES[FITS[name][0]]
    return here if fingerprint() == written_on else elsewhere


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the file anew; else only compare")
    args = parser.parse_args(argv)
    written_on, stored = read() if STORED.exists() else (fingerprint(), {})
    fits = {name: run(name) for name in FITS}
    for name, parts in fits.items():
        found = differences(parts, stored.get(name, {}))
        worst = max(found, key=found.get)
        verdict = "same" if found[worst] <= tolerance(name, written_on) else "CHANGED"
        print(f"{verdict:8} {name:42} {found[worst]:.1e} in {worst}")
    if args.write:
        write(fits)


if __name__ == "__main__":
    main()
