"""Side information in columns of X, with metadata routing off: everything takes X and y alone."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from containers import IN_MEMORY, SOURCES
from joblib import parallel_config
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import AdaBoostRegressor, BaggingRegressor, StackingRegressor, VotingRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from moe_sklearn import (
    BinnedRidgeExperts,
    GridBinner,
    SoftGateMoERegressor,
    moe_learning_curve,
    noise_curve,
    report_from,
    rho_scorer,
)
from moe_sklearn.data import as_source, features_of
from moe_sklearn.plotting import ModeScoresDisplay

MODES = ["soft", "hard", "oracle", "global"]
SIDE = ["teff", "mh"]
FLUXES = [f"flux_{j}" for j in range(5)]
CV = KFold(3, shuffle=True, random_state=0)


@pytest.fixture(scope="module")
def stars():
    """A frame of 300 rows, with side information among the five fluxes and behind them, and the target."""
    rng = np.random.default_rng(0)
    index = rng.permutation(300) + 1000
    side = rng.uniform([0, 0], [2, 2], (300, 2))
    X = rng.normal(size=(300, 5))
    X[:, :2] = side + 0.2 * X[:, :2]
    y = np.where(side[:, 0] < 1, 2.0, -2.0) * X[:, 2] + np.where(side[:, 1] < 1, 1, -1) * X[:, 3]
    frame = pd.DataFrame(X, columns=FLUXES, index=index)
    frame.insert(2, "teff", side[:, 0])
    frame["mh"] = side[:, 1]
    return frame, pd.Series(y + 0.3 * rng.normal(size=300), index=index, name="logg")


def mixture(**parameters):
    parts = {"gate": "logistic", "binner": GridBinner(2), "side_columns": SIDE, **parameters}
    return SoftGateMoERegressor(**parts)


def as_array(frame):
    """Columns by position: fluxes first, then the side information, which is -2 and -1."""
    return frame[FLUXES + SIDE].to_numpy()


# the two estimators


@pytest.mark.parametrize("side_columns", [SIDE, ["mh", "teff"], (2, -1), ["teff", 6], "mh", np.int64(2)])
def test_side_columns_do_what_bins_do(stars, side_columns):
    X, y = stars
    listed = [side_columns] if isinstance(side_columns, str | np.integer) else list(side_columns)
    names = [X.columns[column] if not isinstance(column, str) else column for column in listed]
    model = mixture(side_columns=side_columns).fit(X, y)
    rest = X.drop(columns=names)
    twin = mixture(side_columns=None).fit(rest, y, bins=X[names])
    assert model.bin_names_ == twin.bin_names_
    for mode in MODES:
        expected = twin.predict(rest, mixing=mode, bins=X[names])
        np.testing.assert_array_equal(model.predict(X, mixing=mode), expected)
        np.testing.assert_array_equal(model.predict(rest, mixing=mode, bins=X[names]), expected)
    assert model.score(X, y, mixing="oracle") == twin.score(rest, y, mixing="oracle", bins=X[names])
    assert model.evaluate(X, y, n_resamples=9).r2 == twin.evaluate(rest, y, bins=X[names], n_resamples=9).r2


METHODS = [
    "gate_proba",
    "expert_weights",
    "gate_inputs_of",
    "predict_experts",
    "local_coef",
    "predict_interval",
]


@pytest.fixture(scope="module")
def calibrated(stars):
    """Two equal mixtures, calibrated to rows with and without side columns."""
    X, y = stars
    model = mixture(gate="regression", random_state=0).fit(X, y)
    return model.calibrate(X, y), pickle.loads(pickle.dumps(model)).calibrate(X[FLUXES], y)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_rows_with_and_without_side_columns(stars, calibrated, method):
    X, _ = stars
    with_side, without = calibrated
    np.testing.assert_array_equal(getattr(with_side, method)(X), getattr(without, method)(X[FLUXES]))


def test_contributions_are_of_the_columns_that_experts_see(stars, calibrated):
    X, _ = stars
    model, _ = calibrated
    parts = model.contributions(X)
    assert parts.values.shape == (300, 5)
    assert list(parts.feature_names) == FLUXES
    np.testing.assert_array_equal(parts.values, model.contributions(X[FLUXES]).values)


def test_columns_seen_in_fit_follow_scikit_learn(stars):
    X, y = stars
    model = mixture().fit(X, y)
    assert model.n_features_in_ == 7
    assert model.feature_names_in_.tolist() == X.columns.tolist()
    assert model.side_columns_.positions == (2, 6)
    assert model.experts_.feature_names_in_.tolist() == FLUXES
    assert set(sum(model.expert_table()["strongest"], [])) <= set(FLUXES)
    assert not hasattr(mixture(side_columns=[5, 6]).fit(as_array(X), y), "feature_names_in_")
    np.testing.assert_allclose(model.experts_.predict(X[FLUXES]), model.predict(X, mixing="global"))


def test_an_array_is_told_apart_by_its_width(stars):
    X, y = stars
    rows = as_array(X)
    model = mixture(side_columns=[-2, -1]).fit(rows, y)
    assert model.n_features_in_ == 7
    np.testing.assert_array_equal(model.predict(rows), model.predict(rows[:, :5]))
    assert model.score(rows, y, mixing="oracle") > model.score(rows, y, mixing="global")
    for width in (4, 6, 8):
        with pytest.raises(
            ValueError, match=rf"{width} features.* 7 features with its side columns or 5 with"
        ):
            model.predict(np.zeros((3, width)))
    with pytest.raises(ValueError, match="needs bins"):
        model.predict(rows[:, :5], mixing="oracle")


def test_a_frame_is_told_apart_by_its_names(stars):
    X, y = stars
    model = mixture().fit(X, y)
    moved = X[SIDE + FLUXES]
    np.testing.assert_array_equal(model.predict(moved, mixing="oracle"), model.predict(X, mixing="oracle"))
    with pytest.raises(ValueError, match=r"lacks the side columns \['mh'\].*all or none"):
        model.predict(X.drop(columns="mh"))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X.drop(columns="flux_1"))
    with pytest.warns(UserWarning, match="valid feature names"):
        np.testing.assert_array_equal(model.predict(X.to_numpy()), model.predict(X))


def test_a_missing_value_of_a_side_column_means_in_no_bin(stars):
    X, y = stars
    X = X.assign(teff=X["teff"].where(X["teff"] < 1.5))
    model = mixture().fit(X, y)
    known = X["teff"].notna().sum()
    assert model.bin_count_.sum() == model.evaluate(X, y, n_resamples=9).n_test_covered == known < 300


def test_labels_of_strings_and_categories_need_no_binner(stars):
    X, y = stars
    labels = pd.cut(X["teff"], [0, 1, 2], labels=["cool", "hot"])
    rest = X[FLUXES]
    for column in (labels, labels.astype(str), labels.astype(object), labels == "hot"):
        with_side = rest.assign(regime=column)
        model = mixture(side_columns="regime", binner=None).fit(with_side, y)
        assert model.binner_ is None
        assert len(model.bins_) == 2
        twin = mixture(side_columns=None, binner=None).fit(rest, y, bins=column)
        np.testing.assert_array_equal(
            model.predict(with_side, mixing="oracle"), twin.predict(rest, mixing="oracle", bins=column)
        )
    rows = [[*map(float, values), str(label)] for values, label in zip(rest.to_numpy(), labels, strict=True)]
    listed = mixture(side_columns=-1, binner=None).fit(rows, y)
    assert listed.bins_.tolist() == ["cool", "hot"]


def test_experts_take_one_column_of_labels(stars):
    X, y = stars
    labels = np.where(X["teff"] < 1, "cool", "hot")
    with_side = X[FLUXES].assign(regime=labels)
    experts = BinnedRidgeExperts(side_columns="regime").fit(with_side, y)
    twin = BinnedRidgeExperts().fit(X[FLUXES], y, bins=labels)
    np.testing.assert_array_equal(experts.coef_, twin.coef_)
    np.testing.assert_array_equal(experts.predict(with_side), twin.predict(X[FLUXES], bins=labels))
    np.testing.assert_array_equal(experts.predict(X[FLUXES]), twin.predict(X[FLUXES]))
    np.testing.assert_array_equal(experts.transform(with_side), twin.transform(X[FLUXES]))
    assert experts.score(with_side, y) == twin.score(X[FLUXES], y, bins=labels)
    assert experts.n_features_in_ == 6
    codes = np.column_stack([as_array(X)[:, :5], labels == "hot"])
    np.testing.assert_array_equal(BinnedRidgeExperts(side_columns=5).fit(codes, y).coef_, twin.coef_)
    for side_columns in ("teff", SIDE):
        with pytest.raises(ValueError, match=r"one column of labels.*GridBinner\(\)"):
            BinnedRidgeExperts(side_columns=side_columns).fit(X, y)


@pytest.mark.parametrize(
    ("side_columns", "error", "message"),
    [
        ("Teff", ValueError, "'Teff', but X has 0 of these"),
        (7, ValueError, "position 7, but X has 7 columns"),
        ([], ValueError, "at least one"),
        (["teff", 2], ValueError, "different columns"),
        (list(range(7)), ValueError, "are all columns"),
        (1.5, TypeError, "names or positions"),
        ([True], TypeError, "names or positions"),
        (slice(2), TypeError, "names or positions"),
    ],
)
def test_a_wrong_choice_of_columns_names_the_way_out(stars, side_columns, error, message):
    with pytest.raises(error, match=message):
        mixture(side_columns=side_columns).fit(*stars)


def test_names_need_names(stars):
    X, y = stars
    with pytest.raises(ValueError, match="without column names.*positions"):
        mixture().fit(X.to_numpy(), y)


def test_bins_beside_side_columns_are_an_error(stars):
    X, y = stars
    model, rest = mixture().fit(X, y), X[FLUXES]
    labelled = rest.assign(regime=np.where(X["teff"] < 1, "a", "b"))
    experts = BinnedRidgeExperts(side_columns="regime").fit(labelled, y)
    calls = [
        lambda: mixture().fit(X, y, bins=X[SIDE]),
        lambda: mixture().fit_batches([(X, y, X[SIDE])]),
        lambda: BinnedRidgeExperts(side_columns="regime").fit(labelled, y, bins=labelled["regime"]),
        lambda: BinnedRidgeExperts(side_columns="regime").partial_fit(labelled, y, bins=labelled["regime"]),
        lambda: experts.predict(labelled, bins=labelled["regime"]),
        lambda: model.predict(X, bins=X[SIDE]),
        lambda: model.predict(X, mixing="oracle", bins=X[SIDE]),
        lambda: model.evaluate(X, y, bins=X[SIDE]),
        lambda: rho_scorer(model, X, y, bins=X[SIDE]),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="leave bins out"):
            call()
    with pytest.raises(ValueError, match="experts have side_columns"):
        mixture(experts=BinnedRidgeExperts(side_columns="teff")).fit(X, y)


def test_a_failed_fit_leaves_the_model_whole(stars):
    X, y = stars
    model = mixture().fit(X, y)
    expected = model.predict(X)
    with pytest.raises(ValueError, match="side_columns names"):
        model.fit(X[FLUXES], y)
    np.testing.assert_array_equal(model.predict(X), expected)
    model.set_params(side_columns=None).fit(X[FLUXES], y, bins=X[SIDE])
    assert not hasattr(model, "side_columns_")


def test_round_trips(stars):
    X, y = stars
    model = mixture().fit(X, y)
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict(X, mixing="oracle"), model.predict(X, mixing="oracle"))
    assert clone(model).get_params()["side_columns"] == SIDE
    assert "side_columns" in repr(model)
    labelled = X[FLUXES].assign(regime=np.where(X["teff"] < 1, "a", "b"))
    experts = BinnedRidgeExperts(side_columns="regime").set_output(transform="pandas").fit(labelled, y)
    out = experts.transform(labelled)
    assert out.columns.tolist() == ["expert_a", "expert_b"]
    assert out.index.equals(X.index)


def test_polars_frames(stars):
    pl = pytest.importorskip("polars")
    X, y = stars
    frame = pl.DataFrame({name: X[name].to_numpy() for name in X})
    frame = frame.with_columns(
        pl.when(pl.col("teff") < 1).then(pl.lit("a")).otherwise(pl.lit("b")).alias("regime")
    )
    model = mixture().fit(frame.drop("regime"), y)
    np.testing.assert_array_equal(
        model.predict(frame.drop("regime"), mixing="oracle"), mixture().fit(X, y).predict(X, mixing="oracle")
    )
    columns = ColumnTransformer([("few", StandardScaler(), ["flux_0", "flux_1"])])
    labels = mixture(side_columns="regime", binner=None, gate_features=columns).fit(frame.drop(SIDE), y)
    assert labels.bins_.tolist() == ["a", "b"]
    np.testing.assert_array_equal(labels.predict(frame.drop(SIDE)), labels.predict(frame.select(FLUXES)))


# preprocessing in front


def snv(X):
    X = np.asarray(X)
    return (X - X.mean(axis=1, keepdims=True)) / X.std(axis=1, keepdims=True)


@pytest.mark.parametrize("by_name", [True, False])
def test_preprocessing_leaves_side_columns_alone(stars, by_name):
    """The recipe of the guide."""
    X, y = stars
    spectrum = make_pipeline(FunctionTransformer(snv, feature_names_out="one-to-one"), StandardScaler())
    parts = [("spectrum", spectrum, FLUXES), ("side", "passthrough", SIDE)]
    prepare = ColumnTransformer(parts, verbose_feature_names_out=False)
    if by_name:
        prepare.set_output(transform="pandas")
    inner = mixture(side_columns=SIDE if by_name else [-2, -1])
    alphas = {"softgatemoeregressor__experts__alpha": [0.1, 10.0]}
    search = GridSearchCV(make_pipeline(prepare, inner), alphas, scoring=rho_scorer, cv=CV)
    search.fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    scaled = StandardScaler().fit(snv(X[FLUXES])).transform(snv(X[FLUXES]))
    chosen = {"experts__alpha": search.best_params_[next(iter(alphas))]}
    twin = mixture(side_columns=None).set_params(**chosen).fit(scaled, y, bins=X[SIDE].to_numpy())
    expected = twin.predict(scaled)
    np.testing.assert_allclose(search.predict(X), expected, rtol=1e-9)
    np.testing.assert_allclose(search.predict(X.assign(teff=np.nan, mh=np.nan)), expected, rtol=1e-9)


# memory and sources


def test_successive_columns_of_an_array_are_a_view(stars):
    X, y = stars
    rows = as_array(X)
    model = mixture(side_columns=[-2, -1]).fit(rows, y)
    assert np.shares_memory(features_of(model, rows).array, rows)
    among = mixture(side_columns=[2, -1]).fit(X.to_numpy(), y)
    assert features_of(among, X.to_numpy()).array.flags.c_contiguous


@pytest.mark.parametrize("side_columns", [(5, 6), (2, 6)])
@pytest.mark.parametrize("kind", ["memmap", "hdf5", "dask", "shards", "csr"])
def test_numbers_in_columns_of_a_source(stars, tmp_path, kind, side_columns):
    X, y = stars
    rows = as_array(X) if side_columns == (5, 6) else X.to_numpy()
    source = (IN_MEMORY | SOURCES)[kind](rows, tmp_path)
    model = mixture(side_columns=side_columns).fit(source, y.to_numpy())
    twin = mixture(side_columns=side_columns).fit(rows, y)
    for mode in MODES:
        expected = twin.predict(rows, mixing=mode)
        np.testing.assert_allclose(np.asarray(model.predict(source, mixing=mode)), expected, atol=1e-9)
    assert model.n_features_in_ == 7
    assert model.evaluate(source, y).r2 == pytest.approx(twin.evaluate(rows, y).r2)
    assert model.contributions(source).data.shape == (len(X), 5)


def test_gate_features_of_any_kind_read_a_memory_map_around_a_side_column(stars, tmp_path):
    """joblib maps what it sends to workers, if it is large."""
    X, y = stars
    rows, y = X.to_numpy(), y.to_numpy()
    np.save(tmp_path / "X.npy", rows)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = mixture(side_columns=[2, 6], gate_features=PCA(3))
    expected = clone(model).fit(rows, y).predict(rows)
    np.testing.assert_array_equal(model.fit(mapped, y).predict(mapped), expected)
    np.testing.assert_array_equal(model.contributions(mapped).data, X[FLUXES])
    with parallel_config("loky", n_jobs=2, max_nbytes=1000):
        ensemble = VotingRegressor([("a", model), ("b", model)], n_jobs=2).fit(rows, y)
    np.testing.assert_allclose(ensemble.predict(rows), expected)


def test_batches_need_no_bins(stars):
    X, y = stars
    labelled = X[FLUXES].assign(regime=np.where(X["teff"] < 1, "a", "b"))
    parts = [slice(0, 100), slice(100, 300)]
    for batches in (
        [(labelled[part], y[part]) for part in parts],
        [(labelled[part], y[part], None) for part in parts],
    ):
        experts = BinnedRidgeExperts(1.0, side_columns="regime")
        expected = experts.fit(labelled, y).predict(labelled)
        np.testing.assert_allclose(experts.fit_batches(batches).predict(labelled), expected, atol=1e-9)
        online = BinnedRidgeExperts(1.0, side_columns="regime")
        for X_part, y_part, *_ in batches:
            online.partial_fit(X_part, y_part)
        np.testing.assert_allclose(online.predict(labelled), expected, atol=1e-9)
        assert online.n_features_in_ == 6
        with pytest.raises(ValueError, match="lacks the side columns 'regime'"):
            online.partial_fit(X[FLUXES], y)
    binner = GridBinner(edges=[[0, 1, 2], [0, 1, 2]])
    model = mixture(binner=binner).fit_batches([(X[part], y[part]) for part in parts])
    expected = mixture(binner=binner).fit(X, y).predict(X, mixing="oracle")
    np.testing.assert_allclose(model.predict(X, mixing="oracle"), expected, atol=1e-9)
    with pytest.raises(TypeError, match="must be a tuple"):
        mixture(side_columns=None).fit_batches([(X, y)])


def test_curves_read_side_columns(stars):
    X, y = stars
    model, test = mixture(), X[200:]
    curve = moe_learning_curve(
        model, X[:200], y[:200], X_test=test, y_test=y[200:], train_sizes=[200], shuffle=False
    )
    expected = clone(model).fit(X[:200], y[:200]).evaluate(test, y[200:])
    assert curve.r2["oracle"][0] == pytest.approx(expected.r2["oracle"])
    noise = noise_curve(model, X[:200], y[:200], x_std=1.0, X_test=test, y_test=y[200:], levels=[0.0])
    assert noise.r2["soft"][0] == pytest.approx(expected.r2["soft"])
    with pytest.raises(ValueError, match="set the estimator's side_columns"):
        moe_learning_curve(mixture(side_columns=None), X, y, X_test=X, y_test=y)


# scikit-learn's tools and others, with routing off


def test_grid_search_with_the_rho_scorer(stars):
    X, y = stars
    search = GridSearchCV(
        mixture(),
        {"binner__n_bins": [2, 3]},
        scoring={"r2": "r2", "rho": rho_scorer},
        refit="r2",
        cv=CV,
        error_score="raise",
    ).fit(X, y)
    train, test = next(CV.split(X))
    model = mixture().fit(X.iloc[train], y.iloc[train])
    rho = rho_scorer(model, X.iloc[test], y.iloc[test])
    assert search.cv_results_["split0_test_rho"][0] == pytest.approx(rho)
    assert rho == pytest.approx(model.evaluate(X.iloc[test], y.iloc[test]).rho["soft"])


def test_cross_val_predict_with_the_oracle(stars):
    X, y = stars
    predicted = cross_val_predict(mixture(mixing="oracle"), X, y, cv=CV)
    for train, test in CV.split(X):
        model = mixture(side_columns=None).fit(X.iloc[train][FLUXES], y.iloc[train], bins=X.iloc[train][SIDE])
        expected = model.predict(X.iloc[test][FLUXES], mixing="oracle", bins=X.iloc[test][SIDE])
        np.testing.assert_array_equal(predicted[test], expected)


def test_nested_cross_validation(stars):
    X, y = stars
    search = GridSearchCV(
        mixture(), {"binner__n_bins": [2, 3]}, scoring=rho_scorer, cv=2, error_score="raise"
    )
    scores = cross_val_score(search, X, y, cv=CV, scoring=rho_scorer, error_score="raise")
    assert (scores > 0.2).all()


def test_stacking(stars):
    X, y = stars
    stack = StackingRegressor([("oracle", mixture(mixing="oracle")), ("soft", mixture())], Ridge(), cv=CV)
    assert stack.fit(X, y).score(X, y) > 0.8


@pytest.mark.filterwarnings("ignore:Many rows have near copies")  # which AdaBoost draws several times
@pytest.mark.parametrize("ensemble", [AdaBoostRegressor, BaggingRegressor])
def test_ensembles(stars, ensemble):
    X, y = stars
    rows = as_array(X)
    model = ensemble(mixture(side_columns=[-2, -1], mixing="oracle"), n_estimators=3, random_state=0)
    assert model.fit(rows, y).score(rows, y) > 0.8


def test_cross_conformal_intervals(stars):
    mapie = pytest.importorskip("mapie.regression")
    X, y = stars
    rows = as_array(X)
    conformal = mapie.CrossConformalRegressor(
        mixture(side_columns=[-2, -1]), confidence_level=0.9, method="plus", cv=3, random_state=0
    ).fit_conformalize(rows, y.to_numpy())
    _, intervals = conformal.predict_interval(rows)
    covered = (intervals[:, 0, 0] <= y) & (y <= intervals[:, 1, 0])
    assert covered.mean() > 0.85


def test_a_study_of_optuna(stars):
    optuna = pytest.importorskip("optuna")
    X, y = stars
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial):
        model = mixture(experts=BinnedRidgeExperts(trial.suggest_float("alpha", 0.1, 100.0, log=True)))
        return cross_val_score(model, X, y, cv=CV, scoring=rho_scorer, error_score="raise").mean()

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=2)
    assert len(study.trials) == 2
    assert np.isfinite(study.best_value)


def test_a_pipeline_keeps_the_side_columns(stars):
    X, y = stars
    scale = ColumnTransformer(
        [("scaled", StandardScaler(), FLUXES)], remainder="passthrough", verbose_feature_names_out=False
    )
    pipeline = make_pipeline(scale.set_output(transform="pandas"), mixture()).fit(X, y)
    by_position = make_pipeline(clone(scale).set_output(transform="default"), mixture(side_columns=[-2, -1]))
    scores = cross_val_score(by_position, X, y, cv=CV, scoring=rho_scorer, error_score="raise")
    assert (scores > 0.2).all()
    report = report_from(pipeline, X, y)
    assert report.rho["soft"] == pytest.approx(rho_scorer(pipeline, X, y))
    assert pipeline.predict(X, mixing="oracle").shape == (300,)


def test_rho_of_a_transformed_target(stars):
    X, y = stars
    model = TransformedTargetRegressor(mixture(), transformer=StandardScaler()).fit(X, y)
    assert rho_scorer(model, X, y) == pytest.approx(rho_scorer(mixture().fit(X, y), X, y))
    with pytest.raises(TypeError, match="ends in one"):
        report_from(model, X, y)


# reports of wrapped mixtures


def test_report_from_looks_through_pipelines_and_searches(stars):
    X, y = stars
    plain = make_pipeline(StandardScaler(), mixture(side_columns=None))
    plain.fit(X[FLUXES], y, softgatemoeregressor__bins=X[SIDE])
    expected = plain[-1].evaluate(plain[:-1].transform(X[FLUXES]), y, bins=X[SIDE], n_resamples=10).to_dict()
    for bins in (X[SIDE], X[SIDE].sample(frac=1, random_state=0)):
        assert report_from(plain, X[FLUXES], y, bins=bins, n_resamples=10).to_dict() == expected
    search = GridSearchCV(mixture(), {"binner__n_bins": [2]}, cv=2).fit(X, y)
    nested = make_pipeline(search).fit(X, y)
    expected = mixture().fit(X, y).evaluate(X, y, n_resamples=10)
    for estimator in (search, nested, search.best_estimator_):
        assert report_from(estimator, X, y, n_resamples=10).to_dict() == expected.to_dict()
    display = ModeScoresDisplay.from_estimator(search, X, y)
    assert display.figure_ is not None
    for other in (Ridge().fit(X, y), make_pipeline(Ridge()).fit(X, y)):
        with pytest.raises(TypeError, match="needs a fitted SoftGateMoERegressor"):
            report_from(other, X, y)


# bins that are pandas objects


def test_bins_are_looked_up_by_the_index_of_X(stars):
    X, y = stars
    rest, labels = X[FLUXES], pd.Series(np.where(X["teff"] < 1, "a", "b"), index=X.index)
    shuffled = labels.sample(frac=1, random_state=0)
    model = mixture(side_columns=None, binner=None).fit(rest, y, bins=labels)
    other = mixture(side_columns=None, binner=None).fit(rest, y, bins=shuffled)
    experts = BinnedRidgeExperts().fit(rest, y, bins=labels)
    expected = model.predict(rest, mixing="oracle", bins=labels)
    np.testing.assert_array_equal(other.predict(rest, mixing="oracle", bins=shuffled), expected)
    np.testing.assert_array_equal(BinnedRidgeExperts().fit(rest, y, bins=shuffled).coef_, experts.coef_)
    np.testing.assert_array_equal(experts.predict(rest, bins=shuffled), experts.predict(rest, bins=labels))
    assert model.evaluate(rest, y, bins=shuffled).r2 == model.evaluate(rest, y, bins=labels).r2
    assert rho_scorer(model, rest, y, bins=shuffled) == rho_scorer(model, rest, y, bins=labels)
    batched = mixture(side_columns=None, binner=None).fit_batches([(rest, y, shuffled)])
    np.testing.assert_allclose(batched.predict(rest, mixing="oracle", bins=labels), expected, atol=1e-9)
    side = mixture(side_columns=None).fit(rest, y, bins=X[SIDE].sample(frac=1, random_state=1))
    np.testing.assert_array_equal(side.predict(rest), mixture().fit(X, y).predict(rest))
    # an array has no index, so that its bins are in its own order
    np.testing.assert_array_equal(
        BinnedRidgeExperts().fit(rest.to_numpy(), y, bins=shuffled).coef_,
        BinnedRidgeExperts().fit(rest, y, bins=shuffled.to_numpy()).coef_,
    )


def test_bins_of_another_index_are_refused(stars):
    X, y = stars
    labels = pd.Series(np.where(X["teff"] < 1, "a", "b"))
    with pytest.raises(ValueError, match=r"bins lacks 300 of the 300 rows.*bins.set_axis\(X.index\)"):
        BinnedRidgeExperts().fit(X, y, bins=labels)
    with pytest.raises(ValueError, match="duplicates"):
        BinnedRidgeExperts().fit(X, y, bins=labels.set_axis(np.zeros(300)))
    BinnedRidgeExperts().fit(X, y, bins=labels.set_axis(X.index))
    repeated = X.iloc[[0, 0, 1, 2, 3, 4]]
    same = labels.set_axis(X.index).iloc[[0, 0, 1, 2, 3, 4]]
    assert (
        BinnedRidgeExperts(small_bins="keep")
        .fit(repeated, y.iloc[[0, 0, 1, 2, 3, 4]], bins=same)
        .n_features_in_
        == 7
    )


# gate features that see frames


@pytest.mark.parametrize("gate", ["logistic", "regression"])
def test_gate_features_choose_columns_by_name(stars, gate):
    X, y = stars
    few = ColumnTransformer([("few", StandardScaler(), ["flux_1", "flux_0"])])
    model = mixture(gate_features=few, gate=gate, random_state=0).fit(X, y)
    assert model.gate_features_.feature_names_in_.tolist() == FLUXES
    positions = ColumnTransformer([("few", StandardScaler(), [1, 0])])
    twin = mixture(gate_features=positions, gate=gate, random_state=0, side_columns=[-2, -1])
    rows = as_array(X)
    twin.fit(rows, y)
    for mode in MODES:
        np.testing.assert_allclose(model.predict(X, mixing=mode), twin.predict(rows, mixing=mode))
    np.testing.assert_allclose(model.predict(X[FLUXES]), twin.predict(rows))
    assert len(model.predictor_.inputs(as_source(rows[:, :5]))) == 300
    many = pd.concat([X] * 20)
    np.testing.assert_allclose(model.predict(many)[:300], model.predict(X), atol=1e-12)


def test_gate_features_by_name_with_known_noise(stars):
    X, y = stars
    few = ColumnTransformer([("few", PCA(2), ["flux_0", "flux_1", "flux_2"])])
    # The second axis lies anywhere between two columns of one variance: the drawn noise turns it, and the
    # score is 0.47 to 0.64.
    model = mixture(gate_features=few, random_state=0).fit(X, y, x_std=0.1)
    assert model.score(X, y) > 0.5
    batched = mixture(gate_features=few, binner=GridBinner(edges=[[0, 1, 2]] * 2)).fit_batches([(X, y)])
    assert batched.gate_features_.feature_names_in_.tolist() == FLUXES


def test_default_gate_features_know_the_names(stars):
    X, y = stars
    model = mixture().fit(X, y)
    assert model.gate_features_.feature_names_in_.tolist() == FLUXES
    np.testing.assert_allclose(model.gate_features_.transform(X[FLUXES]), model.gate_inputs_of(X))


def test_routing_stays_possible(stars):
    X, y = stars
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            mixture(), {"binner__n_bins": [2]}, scoring=rho_scorer, cv=CV, error_score="raise"
        )
        with_side = search.fit(X, y).cv_results_["mean_test_score"][0]
        search.set_params(estimator=mixture(side_columns=None))
        routed = search.fit(X[FLUXES], y, bins=X[SIDE]).cv_results_["mean_test_score"][0]
    assert with_side == pytest.approx(routed)


# targets and weights that are pandas objects


def test_targets_and_weights_are_looked_up_by_the_index_of_X(stars):
    X, y = stars
    rest, labels = X[FLUXES], pd.Series(np.where(X["teff"] < 1, "a", "b"), index=X.index)
    weight = pd.Series(np.arange(300) % 3, index=X.index)
    y_other, weight_other = y.sample(frac=1, random_state=0), weight.sample(frac=1, random_state=1)
    std = pd.DataFrame(0.001 * np.arange(1500.0).reshape(300, -1), index=X.index)[list(range(len(FLUXES)))]
    other = std.sample(frac=1, random_state=2)
    for estimator in (BinnedRidgeExperts(), mixture(side_columns=None, binner=None)):
        model = clone(estimator).fit(rest, y, bins=labels, sample_weight=weight)
        same = clone(estimator).fit(rest, y_other, bins=labels, sample_weight=weight_other)
        np.testing.assert_array_equal(same.predict(rest), model.predict(rest))
        given = {"bins": labels, "sample_weight": weight}
        assert model.score(rest, y_other, **given | {"sample_weight": weight_other}) == model.score(
            rest, y, **given
        )
    np.testing.assert_array_equal(
        BinnedRidgeExperts().fit(rest, y, bins=labels, x_std=other).coef_,
        BinnedRidgeExperts().fit(rest, y, bins=labels, x_std=std).coef_,
    )
    rows, others = {"sample_weight": weight}, {"sample_weight": weight_other}
    assert (
        model.evaluate(rest, y_other, bins=labels, **others).r2
        == model.evaluate(rest, y, bins=labels, **rows).r2
    )
    assert report_from(model, rest, y_other, labels).r2 == report_from(model, rest, y, labels).r2
    assert rho_scorer(model, rest, y_other, bins=labels, **others) == rho_scorer(
        model, rest, y, bins=labels, **rows
    )


def test_targets_and_weights_of_another_index_are_refused(stars):
    X, y = stars
    rest, labels = X[FLUXES], np.where(X["teff"] < 1, "a", "b")
    X_other = rest.set_axis(np.arange(300) + 5)
    for wrong, message in (
        (y.set_axis(np.arange(300) + 7), "y lacks 2 of the 300 rows of X, first index 5: .* or y.to_numpy"),
        (y.set_axis(np.zeros(300)), "The index of y is not that of X and has duplicates"),
    ):
        with pytest.raises(ValueError, match=message):
            BinnedRidgeExperts().fit(X_other, wrong, bins=labels)
    with pytest.raises(ValueError, match="sample_weight lacks 300 of the 300 rows"):
        BinnedRidgeExperts().fit(
            X_other, y.to_numpy(), bins=labels, sample_weight=pd.Series(1, list(range(-300, 0)))
        )
    repeated = X_other.iloc[[0, 0, *range(2, 300)]]
    with pytest.raises(ValueError, match="y lacks 1 of the 300 rows of X, first index 5"):
        BinnedRidgeExperts().fit(repeated, y.set_axis(X_other.index), bins=labels)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        BinnedRidgeExperts().fit(X_other, y[:200], bins=labels)


def test_an_index_that_pandas_made_counts_as_none(stars):
    X, y = stars
    rest, labels = X[FLUXES], np.where(X["teff"] < 1, "a", "b")
    expected = BinnedRidgeExperts().fit(rest.to_numpy(), y.to_numpy(), bins=labels).coef_
    numbered = rest.reset_index(drop=True)
    for rows, target in ((rest, y.reset_index(drop=True)), (numbered, y)):
        np.testing.assert_array_equal(BinnedRidgeExperts().fit(rows, target, bins=labels).coef_, expected)
    shuffled = y.reset_index(drop=True).sample(frac=1, random_state=0)
    np.testing.assert_array_equal(BinnedRidgeExperts().fit(numbered, shuffled, bins=labels).coef_, expected)
