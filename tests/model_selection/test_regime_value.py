"""What the regimes are worth: every line is a plain loop of clones on the same folds and rows."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from moe_sklearn import BinnedRidgeExperts, GridBinner, SoftGateMoERegressor, regime_value, rho_score
from moe_sklearn.gates import RegressionGate
from moe_sklearn.metrics import MODES

N = 480
CV = KFold(3, shuffle=True, random_state=0)
LINES = ["real bins", "bins of the target", "one bin", "random labels"]


@pytest.fixture(scope="module")
def data():
    """Two targets whose slopes depend on two columns of side information, which X shows."""
    rng = np.random.default_rng(0)
    side = rng.uniform(-1, 1, size=(N, 2))
    X = rng.normal(size=(N, 5))
    X[:, :2] = side + 0.1 * X[:, :2]
    y = np.stack([side[:, 0] * X[:, 2] * 3, X[:, 3] * np.sign(side[:, 1])], axis=1)
    return X, y + 0.3 * rng.normal(size=(N, 2)), side


def mixture(**params):
    given = {"experts": BinnedRidgeExperts(1.0), "gate": "logistic", "random_state": 0}
    return SoftGateMoERegressor(**given | params)


def predictions(model, X, y, bins, weight=None, rows=None):
    """Out-of-fold predictions of all modes by a plain loop of clones."""
    predicted = {mode: np.empty_like(y) for mode in MODES}
    for train, test in CV.split(X):
        options = {} if weight is None else {"sample_weight": weight[train]}
        fitted = clone(model).fit(X[train], y[train], bins=bins[train], **options)
        for mode in MODES:
            predicted[mode][test] = fitted.predict(X[test], mixing=mode, bins=bins[test])
    return predicted


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", ["1 target", "2 targets"])
def test_real_bins_are_a_plain_loop_of_clones(data, weighted, shape):
    X, y, side = data
    y = y[:, 0] if shape == "1 target" else y
    weight = np.random.default_rng(1).integers(0, 3, N).astype(float) if weighted else None
    model = mixture(experts=BinnedRidgeExperts())
    value = regime_value(model, X, y, bins=side, cv=CV, n_shuffles=0, sample_weight=weight)
    by_hand = predictions(model, X, y, side, weight)
    for mode in MODES:
        expected = r2_score(y, by_hand[mode], sample_weight=weight)
        assert value.r2["real bins"][mode] == pytest.approx(expected, abs=1e-9)
        of_folds = [
            r2_score(y[rows], by_hand[mode][rows], sample_weight=None if weight is None else weight[rows])
            for _, rows in CV.split(X)
        ]
        assert_allclose(value.fold_r2["real bins"][mode], of_folds, atol=1e-9)
    references = {"y_global": by_hand["global"], "y_oracle": by_hand["oracle"], "sample_weight": weight}
    for mode in ("hard", "soft"):
        expected = rho_score(y, by_hand[mode], **references)
        assert value.rho["real bins"][mode] == pytest.approx(expected, abs=1e-6)
    assert value.n_rows == value.n_covered == (N if weight is None else np.count_nonzero(weight))


def test_other_lines_are_the_same_loop_with_other_labels(data):
    X, y, side = data
    y, labels = y[:, 0], GridBinner(2).fit_transform(side).ravel()
    labels[::9] = -1
    covered = labels >= 0
    value = regime_value(mixture(), X, y, bins=labels, cv=CV, n_shuffles=1, random_state=3)
    one = predictions(mixture(), X, y, np.where(covered, 0, -1))
    of_target = np.empty(N)
    for train, test in CV.split(X):
        binner = GridBinner(4).fit(y[train][covered[train], None])
        bins = np.where(covered, binner.transform(y[:, None]).ravel(), -1)
        fitted = mixture().fit(X[train], y[train], bins=bins[train])
        of_target[test] = fitted.predict(X[test], mixing="oracle", bins=bins[test])
    key, shuffled = np.random.RandomState(3).uniform(size=N), labels.copy()
    for _, test in CV.split(X):
        rows = test[covered[test]]
        shuffled[np.sort(rows)] = labels[rows[np.argsort(key[rows])]]
    random = predictions(mixture(), X, y, shuffled)
    assert_array_equal(np.bincount(shuffled + 1), np.bincount(labels + 1))
    y = y[covered]
    for mode in MODES:
        assert value.r2["one bin"][mode] == pytest.approx(r2_score(y, one[mode][covered]), abs=1e-9)
        expected = r2_score(y, random[mode][covered])
        assert value.r2["random labels"][mode] == pytest.approx(expected, abs=1e-9)
    assert value.r2["bins of the target"]["oracle"] == pytest.approx(r2_score(y, of_target[covered]))
    assert one["oracle"][covered].tolist() != one["global"][covered].tolist()
    assert np.isnan(value.rho["one bin"]["soft"])  # no regime to be told, whatever the rows in no bin change
    assert value.shuffled_r2.tolist() == [pytest.approx(value.r2["random labels"]["soft"])]
    assert value.n_bins == dict(zip(LINES, [4, 4, 1, 4], strict=True))
    assert (value.n_rows, value.n_covered) == (N, covered.sum())


def test_all_lines_have_the_same_global_model(data):
    """It knows no bins, so that it differs where folds or rows do; folds that choose penalties know them."""
    X, y, side = data
    value = regime_value(mixture(), X, y, bins=side, cv=CV, n_shuffles=2, random_state=0)
    for line in value.r2:
        assert_allclose(value.fold_r2[line]["global"], value.fold_r2["real bins"]["global"], atol=1e-9)


def test_strong_regimes_beat_every_shuffle_and_the_other_bins(data):
    X, y, side = data
    value = regime_value(mixture(), X, y[:, 0], bins=side, cv=KFold(2), random_state=0)
    assert value.p_value == 1 / 20
    assert len(value.shuffled_r2) == 19
    for line in LINES[1:]:
        assert value.r2["real bins"]["soft"] > value.r2[line]["soft"] + 0.3
    assert value.gain["one bin"] == value.r2["real bins"]["soft"] - value.r2["one bin"]["soft"]


def test_regimes_of_pure_noise_do_not(data):
    X, y, _ = data
    p_values = []
    for seed in range(5):
        noise = np.random.default_rng(seed).integers(0, 3, N)
        value = regime_value(mixture(), X, y[:, 1], bins=noise, cv=CV, n_shuffles=4, random_state=seed)
        p_values.append(value.p_value)
        assert value.p_value == (1 + np.sum(value.shuffled_r2 >= value.r2["real bins"]["soft"])) / 5
    # Each of the 5 possible values is as probable as any other.
    assert 0.3 < np.mean(p_values) < 0.9
    assert len(set(p_values)) > 2


def test_columns_that_earn_their_keep(data):
    X, y, side = data
    bins = pd.DataFrame({"teff": side[:, 0], "noise": np.random.default_rng(2).uniform(size=N)})
    value = regime_value(mixture(), X, y[:, 0], bins=bins, cv=CV, n_shuffles=0)
    assert value.columns["column"] == ["teff", "noise"]
    soft = {line: scores["soft"] for line, scores in value.r2.items()}
    assert value.columns["r2_alone"] == [soft["teff alone"], soft["noise alone"]]
    # Of two columns, one without the other is one alone.
    assert_allclose(
        value.columns["lost_without"],
        [soft["real bins"] - soft["noise alone"], soft["real bins"] - soft["teff alone"]],
    )
    assert value.columns["lost_without"][0] > 0.5 > 0.05 > value.columns["lost_without"][1]
    alone = GridBinner().fit_transform(bins[["teff"]]).ravel()
    by_hand = predictions(mixture(), X, y[:, 0], alone)
    # The edges of the folds are those of their training rows.
    assert soft["teff alone"] == pytest.approx(r2_score(y[:, 0], by_hand["soft"]), abs=0.02)
    assert value.n_bins["teff alone"] == 3


def test_three_columns_have_lines_without_each(data):
    X, y, side = data
    edges = [[-1, 0, 1], [-1, 0, 1], [0, 0.5, 1]]
    bins = np.column_stack([side, np.random.default_rng(2).uniform(size=N)])
    value = regime_value(mixture(binner=GridBinner(edges=edges)), X, y[:, 0], bins=bins, cv=CV, n_shuffles=0)
    assert value.columns["column"] == ["column 0", "column 1", "column 2"]
    without = GridBinner(edges=edges[1:]).fit_transform(bins[:, 1:]).ravel()
    by_hand = predictions(mixture(), X, y[:, 0], without)
    expected = r2_score(y[:, 0], by_hand["soft"])
    assert value.r2["without column 0"]["soft"] == pytest.approx(expected, abs=1e-9)
    lost = value.r2["real bins"]["soft"] - expected
    assert value.columns["lost_without"][0] == pytest.approx(lost, abs=1e-9)
    assert value.n_bins["without column 0"] == 4


@pytest.mark.parametrize("bins", ["labels", "one column"])
def test_no_columns_to_compare(data, bins):
    X, y, side = data
    bins = {"labels": ["hot" if value > 0 else "cool" for value in side[:, 0]], "one column": side[:, :1]}[
        bins
    ]
    value = regime_value(mixture(), X, y, bins=bins, cv=CV, n_shuffles=0)
    assert value.columns == {"column": [], "r2_alone": [], "lost_without": []}
    assert list(value.r2) == LINES[:3]


def test_default_gate_stays_the_default_gate():
    """With one bin, "auto" would be the logistic gate, which has no anchors."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3))
    y = np.sin(2 * X[:, 0]) + 0.1 * rng.normal(size=2000)
    bins = rng.integers(0, 2, len(X))
    cv = KFold(2)
    value = regime_value(mixture(gate="auto"), X, y, bins=bins, cv=cv, n_shuffles=0)
    assert value.r2["one bin"]["soft"] > value.r2["one bin"]["global"] + 0.1
    # An estimator as gate stays itself, one for classes as well as one for errors.
    gate = RegressionGate(n_restarts=1, max_iter=10, random_state=0)
    given = regime_value(mixture(gate=gate), X, y, bins=bins, cv=cv, n_shuffles=0)
    assert given.r2["one bin"]["soft"] > given.r2["one bin"]["global"] + 0.1
    few = regime_value(mixture(gate="auto"), X[:50], y[:50], bins=bins[:50], cv=cv, n_shuffles=0)
    assert few.r2["one bin"]["soft"] == pytest.approx(few.r2["one bin"]["oracle"])


def test_rows_in_no_bin_and_small_bins_are_not_scored(data):
    X, y, side = data
    labels = np.where(side[:, 0] > 0, "hot", "cool").astype(object)
    labels[:30] = None
    labels[30:33] = "rare"
    experts = BinnedRidgeExperts(min_bin_rows=10, small_bins="drop")
    value = regime_value(mixture(experts=experts), X, y, bins=labels, cv=CV, n_shuffles=1)
    assert (value.n_rows, value.n_covered) == (N, N - 33)
    assert value.n_bins == dict(zip(LINES, [2, 2, 1, 2], strict=True))
    with pytest.raises(ValueError, match="bin 'rare' has"):
        regime_value(mixture(experts=BinnedRidgeExperts(min_bin_rows=10)), X, y, bins=labels, cv=CV)


def test_pipeline_is_fitted_in_each_fold(data):
    X, y, side = data
    y, stretched = y[:, 0], X * [1, 100, 1, 0.01, 1]
    pipeline = make_pipeline(StandardScaler(), mixture())
    value = regime_value(pipeline, pd.DataFrame(stretched), y, bins=side, cv=CV, n_shuffles=0)
    by_hand = np.empty(N)
    for train, test in CV.split(X):
        scaler = StandardScaler().fit(stretched[train])
        model = mixture().fit(scaler.transform(stretched[train]), y[train], bins=side[train])
        by_hand[test] = model.predict(scaler.transform(stretched[test]))
    assert value.r2["real bins"]["soft"] == pytest.approx(r2_score(y, by_hand), abs=1e-9)
    alone = regime_value(make_pipeline(mixture()), X, y, bins=side, cv=CV, n_shuffles=0)
    assert alone.r2 == regime_value(mixture(), X, y, bins=side, cv=CV, n_shuffles=0).r2


def test_a_line_costs_one_fit_and_steps_before_are_shared(data, calls_of):
    """Moments of other bins and folds have no sums in common; what is transformed for them is the same."""
    X, y, side = data
    fits, sizes = calls_of(SoftGateMoERegressor, "fit"), []
    step = FunctionTransformer(lambda rows: sizes.append(len(rows)) or rows)
    regime_value(make_pipeline(step, mixture()), X, y, bins=side, cv=CV, n_shuffles=2)
    assert len(fits) == 3 * (3 + 2 + 2)
    assert sizes == 3 * [2 * N // 3, N // 3]


@pytest.mark.parametrize("kind", ["lists", "pandas", "polars", "sparse"])
def test_kinds_of_arrays(data, kind):
    X, y, side = data
    labels = np.where(side[:, 0] > 0, "hot", "cool")
    expected = regime_value(mixture(), X, y, bins=labels, cv=CV, n_shuffles=0)
    if kind == "polars":
        pl = pytest.importorskip("polars")
        X, y, labels = pl.DataFrame(X), pl.DataFrame(y), pl.Series(labels)
    elif kind == "pandas":
        index = np.arange(N)[::-1]
        X, y = pd.DataFrame(X, index), pd.DataFrame(y, index)
        labels = pd.Series(labels, index).astype("category")
    elif kind == "lists":
        X, y, labels = X.tolist(), y.tolist(), labels.tolist()
    else:
        X = csr_matrix(X)
    found = regime_value(mixture(), X, y, bins=labels, cv=CV, n_shuffles=0)
    for line, r2 in expected.r2.items():
        assert found.r2[line] == pytest.approx(r2, abs=1e-6)


def test_seed_and_number_of_jobs(data):
    X, y, side = data
    options = {"bins": side, "cv": CV, "n_shuffles": 2}
    value = regime_value(mixture(), X, y, **options, random_state=5)
    with parallel_config("threading"):  # processes take seconds to start
        again = regime_value(mixture(), X, y, **options, random_state=5, n_jobs=2)
    assert again.r2 == value.r2
    other = regime_value(mixture(), X, y, **options, random_state=6)
    assert other.r2["real bins"] == value.r2["real bins"]
    assert (other.shuffled_r2 != value.shuffled_r2).all()
    model = mixture(random_state=np.random.RandomState(0))
    regime_value(model, X, y, **options)
    assert not hasattr(model, "experts_")


def test_no_shuffles(data):
    X, y, side = data
    value = regime_value(mixture(), X, y, bins=side, cv=CV, n_shuffles=0)
    assert np.isnan(value.p_value)
    assert value.shuffled_r2.shape == (0,)
    assert list(value.gain) == ["one bin"]
    head, *lines = value.summary().splitlines()
    soft = {line: r2["soft"] for line, r2 in value.r2.items()}
    assert head == f"R2 of soft mixing with the real bins: {soft['real bins']:.3f} in 3 folds:"
    assert len(lines) == 2 and f"{value.gain['one bin']:.3f} above one bin" in lines[1]


def test_the_summary_names_the_best_other_line_and_the_smallest_p(data):
    X, y, side = data
    value = regime_value(mixture(), X, y, bins=side, cv=CV, n_shuffles=3, random_state=0)
    r2 = {**value.r2, "bins of the target": dict.fromkeys(value.r2["real bins"], 2.0)}
    better = replace(value, r2=r2)
    assert better.best_other == "bins of the target"
    lines = better.summary().splitlines()
    above = 2 - value.r2["real bins"]["soft"]
    assert lines[1] == f"{above:.3f} below bins of the target, the best of the other lines;"
    assert lines[-1].endswith("above random labels, p = 0.25, the smallest that 3 shuffles can give.")
    worse = replace(value, p_value=0.75).summary()
    assert worse.endswith("p = 0.75, the smallest that 3 shuffles can give is 0.25.")


def test_folds_without_scored_rows_or_spread(data):
    X, y, side = data
    labels = (side[:, 0] > 0).astype(int)
    folds = np.repeat([0, 1, 2], N // 3)
    labels[folds == 1] = -1
    constant = y.copy()
    constant[folds == 2, 1] = 7.0
    cv = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(3)]
    value = regime_value(mixture(), X, constant, bins=labels, cv=cv, n_shuffles=1)
    assert_array_equal(np.isfinite(value.fold_r2["real bins"]["soft"]), [True, False, False])
    assert np.isfinite(value.r2["real bins"]["soft"])
    assert value.table["sd"] == [0.0] * 4


def test_table_text_html_and_json(data):
    X, y, side = data
    bins = pd.DataFrame(side, columns=["teff", "<m/h>"])
    value = regime_value(mixture(), X, y, bins=bins, cv=CV, n_shuffles=3, random_state=0)
    frame = value.to_frame()
    assert list(frame.index) == [*LINES, "teff alone", "<m/h> alone"]
    assert frame.loc["one bin", "r2_soft"] == value.r2["one bin"]["soft"]
    assert frame.loc["real bins", "sd"] == np.std(value.fold_r2["real bins"]["soft"])
    text, html = str(value), value._repr_html_()
    soft = value.r2["real bins"]["soft"]
    numbers = f"3 folds; random labels: 3 times, p >= 0.25; {N} of {N} rows scored"
    assert text.startswith(f"9 bins; R2 of held-out rows; {numbers}\n")
    assert f"{soft:.3f}" in text and f">{soft:.3f}</td>" in html
    assert "above random labels, p = 0.25, the smallest that 3 shuffles can give." in text
    assert value.least_p_value == 0.25
    assert ">&lt;m/h&gt; alone</th>" in html and "<m/h>" in text
    assert max(map(len, text.splitlines())) <= 100
    stored = json.loads(json.dumps(value.to_dict()))
    assert stored["r2"] == value.r2
    assert stored["rho"]["one bin"]["soft"] is None


def test_report_says_what_the_regimes_add(data):
    X, y, side = data
    value = regime_value(mixture(), X[:300], y[:300], bins=side[:300], cv=CV, n_shuffles=1)
    model = mixture().fit(X[:300], y[:300], bins=side[:300])
    report = model.evaluate(X[300:], y[300:], bins=side[300:], regime_value=value)
    of_html = value.summary().replace("\n", "<br>")
    assert str(report).count(value.summary()) == report._repr_html_().count(of_html) == 1
    assert json.loads(json.dumps(report.to_dict()))["regime_value"]["p_value"] == value.p_value
    plain = model.evaluate(X[300:], y[300:], bins=side[300:])
    assert "with the real bins" not in str(plain)
    assert plain.to_dict()["regime_value"] is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"bins": None}, ValueError, "bins=labels_or_side_information"),
        ({"bins": np.zeros(N - 1, int)}, ValueError, "bins has 479 rows, but X has 480"),
        ({"y": np.zeros(N - 1)}, ValueError, "y has 479 rows, but X has 480"),
        ({"y": np.ones(N)}, ValueError, "y is constant"),
        ({"y": np.full(N, np.nan)}, ValueError, "y contains NaN"),
        ({"bins": np.full(N, -1)}, ValueError, "bins covers no row"),
        ({"sample_weight": np.ones(3)}, ValueError, "sample_weight"),
        ({"n_shuffles": -1}, ValueError, "n_shuffles must be an integer >= 0"),
        ({"n_shuffles": 2.5}, ValueError, "n_shuffles must be an integer >= 0"),
        ({"estimator": StandardScaler()}, TypeError, "needs a SoftGateMoERegressor"),
        ({"estimator": make_pipeline(StandardScaler())}, TypeError, "Pipeline that ends in one"),
    ],
)
def test_errors_name_the_way_out(data, change, error, message):
    X, y, side = data
    arguments = {"estimator": mixture(), "X": X, "y": y, "bins": side, "cv": CV, "n_shuffles": 1, **change}
    with pytest.raises(error, match=message):
        regime_value(**arguments)


def test_nothing_to_score(data):
    X, y, _ = data
    bins = np.repeat([0, 0, -1, -1], N // 4)
    cv = [(np.arange(N // 2), np.arange(N // 2, N)), (np.arange(N // 2, N), np.arange(N // 2))]
    with pytest.raises(ValueError, match="bins covers no row"):
        regime_value(mixture(), X, y, bins=bins, cv=cv)
    bins = np.repeat([0, 0, 1, 1], N // 4)
    with pytest.raises(ValueError, match=r"bins covers 0 of 480 rows.*check the labels"):
        regime_value(mixture(), X, y, bins=bins, cv=cv)


def test_side_columns_of_text(data):
    X, y, side = data
    names = np.where(side[:, 0] > 0, "hot", "cool")
    table = pd.DataFrame(X).add_prefix("x").assign(kind=names)
    options = {"cv": CV, "n_shuffles": 0}
    found = regime_value(mixture(side_columns="kind"), table, y[:, 0], **options)
    expected = regime_value(mixture(), X, y[:, 0], bins=names, **options)
    assert found.r2["real bins"]["oracle"] == pytest.approx(expected.r2["real bins"]["oracle"])


def test_side_columns_and_the_order_of_bins(data):
    X, y, side = data
    options = {"cv": CV, "n_shuffles": 1, "random_state": 0}
    expected = regime_value(mixture(), X, y[:, 0], bins=side, **options)
    table = np.hstack([X, side])
    split = regime_value(mixture(side_columns=[5, 6]), table, y[:, 0], **options)
    frame = pd.DataFrame(X, index=np.arange(N)[::-1])
    names = pd.Series(np.where(side[:, 0] > 0, "up", "down"), index=frame.index)
    by_name = regime_value(mixture(), frame, y[:, 0], bins=names.sort_index(), **options)
    in_order = regime_value(mixture(), frame, y[:, 0], bins=names, **options)
    assert split.r2 == expected.r2
    assert by_name.r2 == in_order.r2
    with pytest.raises(ValueError, match="bins are given, but side_columns"):
        regime_value(mixture(side_columns=[5]), table, y[:, 0], bins=side)
    with pytest.raises(ValueError, match="before the steps of a Pipeline"):
        regime_value(make_pipeline(StandardScaler(), mixture(side_columns=[5])), table, y[:, 0])
