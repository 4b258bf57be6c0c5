import gc
from pathlib import Path

import numpy as np
import pytest
from counted_reads import OnDisk
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, PredefinedSplit, ShuffleSplit

from moe_sklearn import BinnedRidgeExperts
from moe_sklearn.binned_moments import BinnedMoments
from moe_sklearn.folds import FoldMoments, fold_of_rows

N, D, ALPHAS = 400, 8, [0.1, 10.0, 1000.0]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(3, 1, size=(N, D))
    bins = rng.integers(-1, 3, size=N)
    y = np.einsum("nd,nd->n", X, rng.normal(size=(4, D))[bins]) + rng.normal(size=N)
    return X, y, bins


def search(X, y, folds, scoring="neg_mean_squared_error"):
    """The twin: scikit-learn's own search over the same folds."""
    grid = GridSearchCV(Ridge(), {"alpha": ALPHAS}, scoring=scoring, cv=PredefinedSplit(folds))
    return grid.fit(X, y)


@pytest.mark.parametrize("scoring", ["neg_mean_squared_error", "r2"])
@pytest.mark.parametrize("cv", [4, KFold(3, shuffle=True, random_state=0)])
def test_alphas_are_those_of_a_grid_search(data, cv, scoring):
    X, y, bins = data
    experts = BinnedRidgeExperts(alphas=ALPHAS, cv=cv, scoring=scoring).fit(X, y, bins=bins)
    folds, table = fold_of_rows(cv, X), experts.cv_results_
    for k, alpha in [*enumerate(experts.alpha_), ("global", experts.global_alpha_)]:
        rows = bins == k if k != "global" else slice(None)
        twin = search(X[rows], y[rows], folds[rows], scoring)
        assert alpha == twin.best_params_["alpha"]
        own = table["param_model"] == k
        assert_allclose(table["param_alpha"][own], ALPHAS)
        for name, scores in twin.cv_results_.items():
            if name.endswith("test_score"):
                assert_allclose(table[name][own], scores, rtol=1e-8)
        model = experts.global_coef_ if k == "global" else experts.coef_[k]
        assert_allclose(model, twin.best_estimator_.coef_, rtol=1e-8)


def test_one_alpha_for_all_experts_is_best_over_all_their_rows(data):
    X, y, bins = data
    experts = BinnedRidgeExperts(alphas=ALPHAS, alpha_per_expert=False, cv=4).fit(X, y, bins=bins)
    folds = fold_of_rows(4, X)
    scores = []
    for alpha in ALPHAS:
        errors = np.zeros(N)
        for fold in range(4):
            for k in range(3):
                train, test = (bins == k) & (folds != fold), (bins == k) & (folds == fold)
                errors[test] = (y[test] - Ridge(alpha=alpha).fit(X[train], y[train]).predict(X[test])) ** 2
        scores.append([-errors[(folds == fold) & (bins >= 0)].mean() for fold in range(4)])
    own = experts.cv_results_["param_model"] == "experts"
    assert_allclose(experts.cv_results_["mean_test_score"][own], np.mean(scores, axis=1), rtol=1e-8)
    assert (experts.alpha_ == ALPHAS[np.argmax(np.mean(scores, axis=1))]).all()


def test_products_in_a_file_give_the_same_and_leave_nothing(data, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    X, y, bins = data
    in_memory = BinnedRidgeExperts(alphas=ALPHAS).fit(X, y, bins=bins)
    in_file = BinnedRidgeExperts(alphas=ALPHAS, fold_bytes=8 * D**2 * 20 - 1).fit(X, y, bins=bins)
    assert (in_memory.fold_storage_, in_file.fold_storage_) == ("memory", "file")
    assert_allclose(in_file.coef_, in_memory.coef_, rtol=1e-10)
    for name in ("mean_test_score", "rank_test_score"):
        assert_allclose(in_file.cv_results_[name], in_memory.cv_results_[name], rtol=1e-10)
    moments = FoldMoments(D, max_bytes=0).update(X, y, bins, fold_of_rows(5, X))
    assert len(list(Path(tmp_path).glob("moe_sklearn_*/*"))) == 20
    del moments
    gc.collect()
    assert not list(Path(tmp_path).iterdir())


def test_all_alphas_cost_one_reading_of_the_rows(data):
    X, y, bins = data
    source = OnDisk(X)
    BinnedRidgeExperts(alphas=ALPHAS).fit(source, y, bins=bins)
    assert source.reads == [slice(0, N)]


def test_each_batch_is_divided_into_the_folds(data):
    X, y, bins = data
    # the last batch brings a bin that the first has not seen
    order = np.argsort(bins == 1, kind="stable")
    X, y, bins = X[order], y[order], bins[order]
    parts = [slice(0, 150), slice(150, 250), slice(250, N)]
    experts = BinnedRidgeExperts(alphas=ALPHAS, cv=4)
    experts.fit_batches([(X[rows], y[rows], bins[rows]) for rows in parts])
    folds = np.concatenate([fold_of_rows(4, X[rows]) for rows in parts])
    for k, alpha in [*enumerate(experts.alpha_), ("global", experts.global_alpha_)]:
        rows = bins == k if k != "global" else slice(None)
        twin = search(X[rows], y[rows], folds[rows])
        assert alpha == twin.best_params_["alpha"]
        own = experts.cv_results_["param_model"] == k
        found = experts.cv_results_["mean_test_score"][own]
        assert_allclose(found, twin.cv_results_["mean_test_score"], rtol=1e-8)


def test_parts_and_total(data):
    X, y, bins = data
    folds = fold_of_rows(5, X)
    moments = FoldMoments(D).update(X, y, bins, folds)
    plain = BinnedMoments(D).update(X, y, bins)
    assert_array_equal(moments.bins, [0, 1, 2])
    assert moments.n_rows == N
    for label in (0, 1, 2, None):
        assert_allclose(moments.total().groups[label].covariance(), plain.groups[label].covariance())
    assert_allclose(moments.pool().covariance(), np.cov(X.T))
    counts = [part.n_rows for part in moments.pooled_parts(covered_only=True)]
    assert counts == np.bincount(folds[bins >= 0]).tolist()


def test_folds_must_hold_every_row_out_once(data):
    X, y, bins = data
    message = "cv must hold every row out exactly once"
    for cv in (ShuffleSplit(3), [(np.arange(10), np.arange(10, 20))]):
        with pytest.raises(ValueError, match=message):
            BinnedRidgeExperts(alphas=ALPHAS, cv=cv).fit(X, y, bins=bins)


def test_later_batches_may_not_bring_more_folds():
    X, y = np.ones((6, 1)), np.arange(6.0)
    moments = FoldMoments(1).update(X, y, None, np.arange(6) % 2)
    with pytest.raises(ValueError, match="more folds than the 2 of the first batch"):
        moments.update(X, y, None, np.arange(6) % 3)


def test_groups_stay_together_where_the_splitter_is_given_them(data):
    X, y, bins = data
    groups = np.arange(N) // 10
    cv = list(GroupKFold(4).split(X, groups=groups))
    folds = fold_of_rows(cv, X)
    assert all(len(set(folds[groups == group])) == 1 for group in range(N // 10))
    experts = BinnedRidgeExperts(alphas=ALPHAS, cv=cv).fit(X, y, bins=bins)
    assert experts.cv_results_["split3_test_score"].shape == (12,)
