"""Penalties: given, or chosen by held-out errors or by restricted likelihoods."""

import warnings
from contextlib import nullcontext

import numpy as np
import pytest
from counted_reads import OnDisk
from numpy.testing import assert_allclose
from plain_choice import best_place, held_out_curves, pooled_with_others
from shared_data import fold_of_rows
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from moe_sklearn import BinnedRidgeExperts
from moe_sklearn.experts._penalties import GRID, check_alpha, choose_alphas, given_alphas
from moe_sklearn.moments import BinnedMoments, FoldMoments

N, ALPHAS = 240, np.array([1e-4, 1e-2, 1.0, 10.0, 100.0, 1e3, 1e5])


@pytest.mark.parametrize("alpha", [0, 2, 0.5, np.float32(3), np.int64(4)])
def test_a_penalty_is_a_finite_number_from_0_on(alpha):
    checked = check_alpha(alpha, "alpha")
    assert type(checked) is float
    assert checked == alpha


@pytest.mark.parametrize("alpha", [-1e-9, np.nan, np.inf, "1", None, 1j, [1.0]])
def test_other_penalties_are_refused_by_name(alpha):
    with pytest.raises(ValueError, match="global_alpha must be a finite number >= 0, got "):
        check_alpha(alpha, "global_alpha")


@pytest.mark.parametrize(
    ("alpha", "global_alpha", "labels", "expected"),
    [
        (2, None, ["a", "b"], ([2.0, 2.0], 2.0)),
        (2, 0, ["a"], ([2.0], 0.0)),
        (0.0, None, [], ([], 0.0)),
        ([1.0, 5.0], None, ["a", "b"], ([1.0, 5.0], 3.0)),
        (np.array([1, 5]), 7, ["a", "b"], ([1.0, 5.0], 7.0)),
        ({"b": 5.0, "z": 9, "a": 1}, None, ["a", "b"], ([1.0, 5.0], 3.0)),
        ([], 4, [], ([], 4.0)),
    ],
)
def test_given_penalties_of_the_bins_and_of_the_global_model(alpha, global_alpha, labels, expected):
    alphas, of_global = given_alphas(alpha, global_alpha, labels)
    assert (alphas.tolist(), of_global) == expected
    assert alphas.dtype == float


@pytest.mark.parametrize(
    ("alpha", "message"),
    [
        ([1.0, -1.0], "alpha must be a finite number >= 0, got -1.0"),
        ([1.0, "much"], "alpha must be a finite number >= 0, got 'much'"),
        ({"a": 1.0, "b": np.nan}, "alpha must be a finite number >= 0, got nan"),
        ({"a": 1.0, "b": "much"}, "alpha must be a finite number >= 0, got 'much'"),
        ([1.0, 1j], r"alpha must be a finite number >= 0, got 1j"),
        ([1.0], r"alpha has shape \(1,\), there are 2 bins: .* in the order \['a', 'b'\]"),
        ([[1.0, 2.0]], r"alpha has shape \(1, 2\), there are 2 bins"),
        ({"a": 1.0}, "alpha has no entry for bin 'b'"),
        (None, "alpha must be a finite number >= 0, got None"),
    ],
)
def test_bad_penalties_are_named(alpha, message):
    with pytest.raises(ValueError, match=message):
        given_alphas(alpha, None, ["a", "b"])
    with pytest.raises(ValueError, match="global_alpha must be a finite number >= 0, got -2"):
        given_alphas(1.0, -2, ["a", "b"])
    with pytest.raises(ValueError, match="global_alpha must be given"):
        given_alphas([], None, [])


# chosen by the folds


def made(n_targets=1, d=5, n=N):
    """Bins of unlike slopes and sizes, one of noise that wants no columns, and rows in no bin."""
    rng = np.random.default_rng(0)
    bins = rng.permutation(np.repeat([0, 1, 2, -1], [n // 2, n // 4, n // 12, n // 6]))
    X = rng.normal(3, 1, size=(n, d))
    y = np.array([1.0, 0.3, 0.0, 0.5])[bins, None] * X[:, :n_targets] + rng.normal(size=(n, n_targets))
    return X, y[:, 0] if n_targets == 1 else y, bins


def moments_of(X, y, bins=None, folds=None, weight=None):
    folds = np.arange(len(X)) // 4 % 4 if folds is None else folds
    return FoldMoments(X.shape[1], 1 if y.ndim == 1 else y.shape[1]).update(X, y, bins, folds, weight)


def assert_choice_is_plain(experts, rows, folds, penalties, *, tolerance=1e-8, x_std=None):
    """Scores and penalties are those of a loop over models, folds and candidates.

    ``penalties(W)`` are the candidates for rows of the weight W. The least ones need not be solved for.
    """
    X, y, bins, weight = rows
    table, curves = experts.cv_results_, {}
    parts = {"global": bins > -2, **{k: bins == k for k in range(3)}}
    assert table["param_model"].tolist() == [name for name in parts for _ in penalties(1.0)]
    chosen = dict(zip(parts, [experts.global_alpha_, *experts.alpha_], strict=True))
    for name, part in parts.items():
        own, candidates = table["param_model"] == name, penalties(weight[part].sum())
        assert_allclose(table["param_alpha"][own], candidates, rtol=1e-12)
        of_part = (values[part] for values in (X, y, folds, weight))
        of_folds = held_out_curves(lambda W: [Ridge(alpha) for alpha in penalties(W)], *of_part, x_std)
        curves[name] = of_folds.mean(axis=0)
        solved = candidates >= min(candidates[np.argmin(curves[name])], 0.99 * chosen[name])
        for column, expected in {
            **{f"split{fold}_test_score": -curve for fold, curve in enumerate(of_folds)},
            "mean_test_score": -curves[name],
            "std_test_score": of_folds.std(axis=0),
        }.items():
            assert_allclose(table[column][own][solved], expected[solved], rtol=0, atol=tolerance)
        assert table["rank_test_score"][own].argmin() == table["mean_test_score"][own].argmax()
    of_bins = [curves[k] for k in range(3)]
    pooled = pooled_with_others(of_bins, [weight[parts[k]].sum() for k in range(3)])
    for name, curve in zip(parts, [curves["global"], *pooled], strict=True):
        best = penalties(weight[parts[name]].sum())[best_place(curve, len(weight))]
        assert chosen[name] == pytest.approx(best, rel=1e-9)
    in_bins = [weight[parts[k]].sum() for k in range(3)]
    of_rows = np.exp(np.average(np.log(experts.alpha_ / in_bins), weights=in_bins))
    least = min(experts.global_alpha_, of_rows * sum(in_bins))
    assert experts.discriminant_alpha_ == pytest.approx(least, rel=1e-9)


WEIGHTS = {"equal": np.ones(N), "weights": np.random.default_rng(1).uniform(0.5, 2, N)}


@pytest.mark.parametrize("cv", [KFold(4), KFold(3, shuffle=True, random_state=0)])
@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
def test_given_candidates_are_compared_as_in_a_plain_loop(cv, n_targets, weight):
    X, y, bins = made(n_targets)
    experts = BinnedRidgeExperts(alphas=ALPHAS[::-1], cv=cv).fit(X, y, bins=bins, sample_weight=weight)
    assert_choice_is_plain(experts, (X, y, bins, weight), fold_of_rows(cv, X), lambda _: ALPHAS)


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize(("d", "tolerance"), [(5, 1e-8), (260, 1e-3)])
def test_automatic_candidates_have_the_units_of_x(n_targets, weight, d, tolerance):
    """Of many columns, models are rough."""
    X, y, bins = made(n_targets, d)
    X = 1e-3 * X
    experts = BinnedRidgeExperts(cv=KFold(4)).fit(X, y, bins=bins, sample_weight=weight)
    variance = np.cov(X.T, aweights=weight, ddof=0).trace()
    rows, folds = (X, y, bins, weight), fold_of_rows(4, X)
    assert_choice_is_plain(experts, rows, folds, lambda W: GRID * variance * W, tolerance=tolerance)


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
def test_noise_of_the_rows_to_predict_counts(weight):
    X, y, bins = made()
    x_std = np.linspace(0.1, 0.5, 5)
    experts = BinnedRidgeExperts(cv=KFold(4)).fit(X, y, bins=bins, sample_weight=weight, x_std=x_std)
    variance = np.cov(X.T, aweights=weight, ddof=0).trace() + (x_std**2).sum()
    rows, folds = (X, y, bins, weight), fold_of_rows(4, X)
    assert_choice_is_plain(experts, rows, folds, lambda W: GRID * variance * W, x_std=x_std, tolerance=1e-3)


@pytest.mark.parametrize("alphas", [None, ALPHAS])
def test_experts_that_shrink_are_compared_as_such(alphas):
    """What they shrink to has not seen the fold either."""
    X, y, bins = made()
    folds = fold_of_rows(4, X)
    options = {"alphas": alphas, "global_alpha": 7.0, "shrink_to": "global", "cv": KFold(4)}
    table = BinnedRidgeExperts(**options).fit(X, y, bins=bins).cv_results_
    for k in range(3):
        own, scores = bins == k, []
        for fold in range(4):
            train, test = folds != fold, own & (folds == fold)
            left = y - X @ Ridge(7.0).fit(X[train], y[train]).coef_
            for alpha in table["param_alpha"][table["param_model"] == k]:
                alpha = alpha if alphas is not None else alpha * (train & own).sum() / own.sum()
                twin = Ridge(alpha).fit(X[train & own], left[train & own])
                scores.append(-np.log(np.mean((left - twin.predict(X))[test] ** 2) / y[own].var() + 1e-10))
        expected = np.reshape(scores, (4, -1)).mean(axis=0)
        assert_allclose(table["mean_test_score"][table["param_model"] == k][12:], expected[12:], rtol=1e-7)
        assert_allclose(table["mean_test_score"][table["param_model"] == k][-4:], expected[-4:], rtol=1e-7)


def test_each_batch_is_divided_into_the_folds():
    X, y, bins = made()
    cv = KFold(4, shuffle=True, random_state=0)
    # the last batch brings a bin that the first has not seen
    order = np.argsort(bins == 1, kind="stable")
    X, y, bins = X[order], y[order], bins[order]
    parts = [slice(0, 90), slice(90, 150), slice(150, N)]
    experts = BinnedRidgeExperts(alphas=ALPHAS, cv=cv)
    experts.fit_batches([(X[rows], y[rows], bins[rows]) for rows in parts])
    folds = np.concatenate([fold_of_rows(cv, X[rows]) for rows in parts])
    assert_choice_is_plain(experts, (X, y, bins, np.ones(N)), folds, lambda _: ALPHAS)


def test_all_candidates_cost_one_reading_of_the_rows():
    X, y, bins = made()
    source = OnDisk(X)
    BinnedRidgeExperts().fit(source, y, bins=bins)
    assert source.reads == [slice(0, N)]


def test_of_penalties_that_are_as_good_the_greatest_is_chosen():
    X, y, _ = made()
    _, global_alpha, table = choose_alphas(moments_of(X, y), [], [10.0, 10.0, 1e-9, 10.001, 1e4])
    assert table["param_alpha"].tolist() == [1e-9, 10.0, 10.0, 10.001, 1e4]
    ranks = table["rank_test_score"]
    assert ranks[1] == ranks[2] < ranks[0]
    assert global_alpha == 10.001
    for y in (np.arange(16.0), np.ones(16)):  # columns or a target that say nothing
        _, global_alpha, table = choose_alphas(moments_of(np.ones((16, 2)), y), [], [3.0, 1.0, 2.0])
        assert global_alpha == 3.0
        assert np.ptp(table["mean_test_score"]) == 0


def test_a_global_penalty_that_is_given_is_not_chosen():
    moments = moments_of(*made())
    _, global_alpha, table = choose_alphas(moments, [0, 1], ALPHAS, global_alpha=5)
    assert global_alpha == 5.0
    assert "global" not in table["param_model"]
    with pytest.raises(ValueError, match="global_alpha must be a finite number >= 0"):
        choose_alphas(moments, [0, 1], ALPHAS, global_alpha=-5)


def test_no_bin_leaves_the_global_model():
    moments = moments_of(*made())
    alphas, _, table = choose_alphas(moments, [], ALPHAS)
    assert alphas.shape == (0,)
    assert table["param_model"].tolist() == ["global"] * 7
    alphas, global_alpha, table = choose_alphas(moments, [], ALPHAS, global_alpha=2.0)
    assert (global_alpha, table) == (2.0, {})


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([], "alphas is empty: pass candidates .*or leave it"),
        ([1, -1], "alphas must be a finite number >= 0, got"),
        ([1, "a"], "alphas must be a finite number >= 0, got"),
        ([None], "alphas must be a finite number >= 0, got"),
        ([np.nan], "alphas must be a finite number >= 0, got"),
    ],
)
def test_bad_candidates_are_named(candidates, message):
    X, y, bins = made()
    with pytest.raises(ValueError, match=message):
        BinnedRidgeExperts(alphas=candidates).fit(X, y, bins=bins)
    with pytest.raises(ValueError, match="alpha and alphas are both given: pass one of them"):
        BinnedRidgeExperts(2.0, alphas=candidates).fit(X, y, bins=bins)


@pytest.mark.parametrize("alpha", ["automatic", "", None, np.array(["auto"])])
def test_no_other_text_is_a_penalty(alpha):
    X, y, bins = made()
    with pytest.raises(ValueError, match="alpha (must be|has shape)"):
        BinnedRidgeExperts(alpha).fit(X, y, bins=bins)


def test_one_candidate_is_taken():
    assert choose_alphas(moments_of(*made()), [0, 1], 3)[0].tolist() == [3.0, 3.0]


def test_a_bin_within_one_fold_takes_the_penalty_of_the_others():
    """C12: cv is named where the rows of large bins are held out at once."""
    X, y, _ = made()
    bins, folds = np.repeat([7, 8], 120), np.repeat([0, 1, 2], 80)
    moments = moments_of(X, y, np.where(np.arange(N) < 60, 6, bins), folds)
    with pytest.raises(ValueError, match=r"cv: all rows of bin 6 lie in one fold.* Pass cv=5"):
        choose_alphas(moments, [6, 7, 8], ALPHAS)
    assert choose_alphas(moments, [7, 8], ALPHAS)[0].shape == (2,)
    for n_alone in (1, 2):
        some = moments_of(X, y, np.where(np.arange(N) < n_alone, 6, bins), folds)
        alphas, _, table = choose_alphas(some, [6, 7, 8], ALPHAS)
        scores = [table["mean_test_score"][table["param_model"] == k] for k in (7, 8)]
        others = best_place(-np.average(scores, axis=0, weights=[120 - n_alone, 120]), N)
        assert alphas[0] == ALPHAS[others]


def test_a_fold_without_rows_does_not_count():
    X, y, _ = made()
    folds, weight = np.append(np.arange(N - 1) % 2, 2), np.append(np.ones(N - 1), 0)
    _, alpha, table = choose_alphas(moments_of(X, y, None, folds, weight), [], ALPHAS)
    _, expected, twin = choose_alphas(moments_of(X[:-1], y[:-1], None, folds[:-1]), [], ALPHAS)
    assert np.isnan(table["split2_test_score"]).all()
    assert alpha == expected
    assert_allclose(table["mean_test_score"], twin["mean_test_score"], rtol=1e-12)


@pytest.mark.parametrize("alphas", [None, ALPHAS])
def test_scores_do_not_change_with_the_scale_of_weights(alphas):
    X, y, bins = made()
    (found, _, table), (scaled, _, scaled_table) = (
        choose_alphas(
            moments_of(X, y, bins, None, scale * WEIGHTS["weights"]),
            [0, 1],
            None if alphas is None else scale * alphas,
        )
        for scale in (1.0, 1e-9)
    )
    assert_allclose(scaled, 1e-9 * found, rtol=1e-9)
    for fold in range(4):
        name = f"split{fold}_test_score"
        assert_allclose(scaled_table[name], table[name], rtol=1e-7)


# chosen by restricted likelihoods


def restricted_likelihood(alpha, X, y):
    """-2 log L per degree of freedom of y ~ N(b, s2 (I + XX' / alpha)), without what has no alpha."""
    contrasts = np.linalg.svd(np.ones((1, len(X))))[2][1:]
    z, kernel = contrasts @ y, contrasts @ X @ X.T @ contrasts.T
    covariance = np.eye(len(z)) + kernel / alpha
    square = z @ np.linalg.solve(covariance, z)
    return np.log(square) + np.linalg.slogdet(covariance)[1] / len(z)


def few_rows(d=4, n=54, n_targets=1):
    X, y, bins = made(n_targets, d, 60)
    return X[:n], y[:n], np.where(bins[:n] == 2, 1, bins[:n])


@pytest.mark.parametrize(("d", "n_targets"), [(4, 1), (4, 2), (200, 1), (200, 2)])
def test_few_rows_take_the_penalty_of_greatest_restricted_likelihood(d, n_targets):
    X, y, bins = few_rows(d, n_targets=n_targets)
    experts = BinnedRidgeExperts().fit(X, y, bins=bins)
    assert experts.cv_results_ == {}
    grid, curves = GRID * X.var(axis=0).sum(), []
    for part in (bins > -2, bins == 0, bins == 1):
        targets = y[part].reshape(part.sum(), -1).T
        curves.append(
            [np.mean([restricted_likelihood(a * part.sum(), X[part], t) for t in targets]) for a in grid]
        )
    counts = [(bins == 0).sum(), (bins == 1).sum()]
    places = [best_place(curve, 54) for curve in pooled_with_others(curves[1:], counts)]
    assert_allclose(experts.alpha_, grid[places] * counts, rtol=1e-9)
    assert experts.global_alpha_ == pytest.approx(54 * grid[best_place(curves[0], 54)], rel=1e-9)


@pytest.mark.parametrize("d", [4, 200])
@pytest.mark.parametrize("shrink_to", ["zero", "global"])
@pytest.mark.parametrize("fit", ["fit", "partial_fit", "fit_moments"])
def test_a_row_of_weight_2_is_two_rows(d, shrink_to, fit):
    X, y, bins = few_rows(d, n=30)
    times = np.random.default_rng(3).integers(0, 3, 30)
    again = np.repeat(np.arange(30), times)
    outputs = []
    for rows, weight in ((np.arange(30), times), (again, None)):
        experts = BinnedRidgeExperts(shrink_to=shrink_to)
        if fit == "fit_moments":
            experts.fit_moments(BinnedMoments(d).update(X[rows], y[rows], bins[rows], weight))
        else:
            getattr(experts, fit)(X[rows], y[rows], bins=bins[rows], sample_weight=weight)
        outputs.append([*experts.alpha_, experts.global_alpha_, *experts.transform(X).ravel()])
    assert_allclose(*outputs, rtol=1e-9)


def test_rows_are_few_below_150_or_without_folds():
    X, y, bins = (part[:150] for part in made(n=156))
    assert BinnedRidgeExperts().fit(X, y, bins=bins).cv_results_
    assert not BinnedRidgeExperts().fit(X[1:], y[1:], bins=bins[1:]).cv_results_
    assert not BinnedRidgeExperts().fit(X, y, bins=bins, sample_weight=np.r_[0, np.ones(149)]).cv_results_
    assert BinnedRidgeExperts(alphas=ALPHAS).fit(X[1:], y[1:], bins=bins[1:]).cv_results_
    X, y, bins = made()
    whole = BinnedRidgeExperts().fit_moments(BinnedMoments(5).update(X, y, bins))
    in_parts = BinnedRidgeExperts()
    for rows in (slice(0, 99), slice(99, N)):
        in_parts.partial_fit(X[rows], y[rows], bins=bins[rows])
    assert whole.cv_results_ == in_parts.cv_results_ == {}
    assert_allclose(in_parts.alpha_, whole.alpha_, rtol=1e-9)
    assert_allclose(in_parts.coef_, whole.coef_, rtol=1e-9)
    by_folds = BinnedRidgeExperts().fit(X, y, bins=bins)
    assert np.abs(whole.predict(X) - by_folds.predict(X)).max() < 0.2 * y.std()


# penalties that are out of place


@pytest.mark.parametrize("by_folds", [True, False])
def test_a_best_candidate_at_an_end_is_told(by_folds):
    X, y, bins = made()
    moments = moments_of(X, y, bins) if by_folds else BinnedMoments(5).update(X, y, bins)
    for alphas, end in (([300.0, 1e4, 1e5], "least"), ([10.0, 1e-1, 1e-3], "greatest")):
        with pytest.warns(UserWarning, match=f"The best of the 3 alphas is the {end} one.*alpha='auto'"):
            BinnedRidgeExperts(alphas=alphas).fit_moments(moments)
    BinnedRidgeExperts(alphas=[1e4]).fit_moments(moments)
    if by_folds:  # the curve is level there
        BinnedRidgeExperts(alphas=[1e-4, 1e-3, 1e-2]).fit_moments(moments)


@pytest.mark.parametrize(
    "parameters", [{"alpha": 1.0}, {"alphas": [0.1, 1.0]}, {"alpha": {0: 1.0, 1: 9.0, 2: 1.0}}]
)
def test_a_penalty_that_shrinks_everything_to_nothing_is_told(parameters):
    """As in spectra of a flux of 1e-17."""
    X, y, bins = made()
    with pytest.warns(
        UserWarning, match=r"alpha is (0\.)?1 or more, and the sum of squares of all columns.*'auto'"
    ):
        BinnedRidgeExperts(**parameters).fit(1e-17 * X, y, bins=bins)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BinnedRidgeExperts().fit(1e-17 * X, y, bins=bins)
        BinnedRidgeExperts(1.0).fit(np.zeros_like(X), y, bins=bins)  # there is nothing to shrink


@pytest.mark.parametrize(("size", "warns"), [(1.0, False), (1e4, False), (1e6, True)])
def test_a_column_that_hides_all_others_is_told(size, warns):
    """A noise column with a standard deviation of 1e6 took R2 of experts from .99 to .02 without a word."""
    rng = np.random.default_rng(0)
    X, bins = rng.normal(size=(400, 6)), np.arange(400) % 2
    y = np.where(bins, 3, -3) * X[:, 1] + rng.normal(size=400)
    X[:, 4] *= size
    told = "^Column 4 of X varies 1e\\+06 times as much as a typical one: automatic penalties"
    with pytest.warns(UserWarning, match=told) if warns else nullcontext():
        BinnedRidgeExperts().fit(X, y, bins=bins)
    BinnedRidgeExperts(1.0).fit(X, y, bins=bins)
    X[:, 5] = 1e3
    BinnedRidgeExperts().fit(X[:, [0, 1, 2, 3, 5]], y, bins=bins)
