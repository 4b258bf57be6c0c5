"""The packages that `comparison.py` compares: how to make, fit and call each of them by its public names.

`Tool` uses the interface of scikit-learn. Subclasses override it for packages with another one, and mark with
`workaround` what needs more than the package itself.
"""

from importlib import import_module

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, QuantileRegressor, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

LOW_HIGH = 0.05, 0.95
NORMAL_90 = 1.645


def workaround(how):
    """Mark a method that needs more than the package itself, and say what."""

    def mark(method):
        method.how = how
        return method

    return mark


def router():
    """Classifier that tells the regime of a row from its columns, for packages that do not."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def with_column(X, bins):
    return np.column_stack([bins, X])


class Tool:
    """One package, with the settings for one data set."""

    package, name, settings = None, None, ""
    modules = ()  # imported before the clock starts
    needs_bins = False  # fit takes `bins`
    told = False  # predict is told the regime
    few_inputs = False  # made for tens of columns: it gets PCA scores of real spectra
    proba_names = "predict_proba", "predict_regime_proba"
    interval_names = "predict_interval", "predict_intervals", "predict_quantiles", "predict_variances"
    density_names = "log_prob", "logpdf", "predict_dist"

    def __init__(self, alpha=1.0, n_regimes=4, n_components=8):
        self.alpha, self.n_regimes, self.n_components = alpha, n_regimes, n_components

    def load(self, module, name):
        return getattr(import_module(module), name)

    def estimator(self):
        raise NotImplementedError

    def fit(self, X, y, bins, **options):
        known = {"bins": bins} if self.needs_bins else {}
        return self.estimator().fit(X, y, **known, **options)

    def predict(self, model, X, bins=None):
        return np.asarray(model.predict(X))

    # Methods that rows of the table call, and that packages do in different ways.

    def fit_labelled(self, X, y, bins):
        """A function of X only, learned with labels."""
        model = self.estimator().fit(X, y, bins=bins)
        return model.predict

    def fit_unlabelled(self, X, y):
        """A function of X only, learned without labels."""
        return self.estimator().fit(X, y).predict

    def predict_told(self, train, test):
        """Predictions of rows whose group is known."""
        return self.estimator().fit(*train).predict(test[0], bins=test[2])

    def regime_proba(self, model, X):
        return first_method(model, self.proba_names)(X)

    def evaluate(self, model, test):
        X, y, bins = test
        return {"rho": model.evaluate(X, y, bins=bins).rho["soft"]}

    def fit_batches(self, batches):
        model = self.estimator()
        for X, y, bins in batches:
            known = {"bins": bins} if self.needs_bins else {}
            model.partial_fit(X, y, **known)
        return model

    def fit_noise_known(self, X, y, bins, x_std):
        return self.fit(X, y, bins, x_std=x_std)

    def fit_missing(self, X, y, bins):
        return self.fit(X, y, bins)

    def intervals(self, train, held_out, X):
        return first_method(self.fit(*train), self.interval_names)(X)

    def log_density(self, model, X, y):
        return first_method(model, self.density_names)(X, y)

    def coefficients(self, model):
        return model.coef_

    def other_experts(self):
        """An estimator whose experts are forests."""
        return self.estimator().set_params(estimator=RandomForestRegressor(20, random_state=0))

    def classifier(self):
        raise NotImplementedError("the package has no classifier of this kind")


def first_method(model, names):
    """The first of these methods that a model has."""
    for name in names:
        if hasattr(model, name):
            return getattr(model, name)
    raise AttributeError(f"none of {', '.join(names)}")


def behind_a_classifier(tool, X, y, bins):
    """X with the predicted probabilities of the regimes as further columns, cross-fitted in training."""
    gate = router().fit(X, bins)
    seen = cross_val_predict(router(), X, bins, method="predict_proba")
    model = tool.fit(np.hstack([X, seen]), y, None)
    return lambda rows: tool.predict(model, np.hstack([rows, gate.predict_proba(rows)]))


class ByAClassifier:
    """A way for any regressor to use labels."""

    @workaround("a classifier before it, whose probabilities are further columns")
    def fit_labelled(self, X, y, bins):
        return behind_a_classifier(self, X, y, bins)


# moe_sklearn


class Mixture(Tool):
    package, name = "moe-sklearn", "moe_sklearn"
    settings = "SoftGateMoERegressor, default gate"
    needs_bins = True
    proba_names = ("gate_proba",)
    gate = "auto"

    def estimator(self):
        from moe_sklearn import BinnedRidgeExperts, GateFeatureTransformer, SoftGateMoERegressor

        experts, features = BinnedRidgeExperts(self.alpha), GateFeatureTransformer(self.n_components)
        return SoftGateMoERegressor(experts, features, self.gate, random_state=0)

    def fit_unlabelled(self, X, y):
        from moe_sklearn import ClusterBinner

        clusters = ClusterBinner(self.n_regimes, random_state=0)
        return self.estimator().set_params(binner=clusters).fit(X, y, bins=X).predict

    def predict_told(self, train, test):
        return self.fit(*train).predict(test[0], bins=test[2], mixing="oracle")

    def fit_batches(self, batches):
        return self.estimator().fit_batches(batches)

    def intervals(self, train, held_out, X):
        return self.fit(*train).calibrate(*held_out[:2]).predict_interval(X).T

    def coefficients(self, model):
        return model.experts_.coef_

    def other_experts(self):
        return self.estimator().set_params(experts=RandomForestRegressor(20, random_state=0))


class LogisticMixture(Mixture):
    settings = "the same with gate='logistic'"
    gate = "logistic"


class OracleMixture(Mixture):
    settings = "the same, mixing='oracle': told the regime"
    told = True

    def predict(self, model, X, bins=None):
        return model.predict(X, bins=bins, mixing="oracle")


# By hand


class HandWritten(RegressorMixin, BaseEstimator):
    """A gate written by hand: a classifier of the labels, and a loop over one estimator."""

    def __init__(self, expert, n_components=8):
        self.expert, self.n_components = expert, n_components

    def fit(self, X, y, bins, sample_weight=None, x_std=0.0):
        steps = PCA(self.n_components, random_state=0), StandardScaler(), LogisticRegression(max_iter=1000)
        weight = np.ones(len(y)) if sample_weight is None else sample_weight
        self.gate_ = make_pipeline(*steps).fit(X, bins, logisticregression__sample_weight=weight)
        parts = [bins == label for label in self.gate_.classes_]
        self.global_, *self.experts_ = (
            self.make_expert(x_std**2 * rows.sum()).fit(X[rows], y[rows], weight[rows])
            for rows in (np.ones(len(y), bool), *parts)
        )
        return self

    def make_expert(self, penalty):
        """White noise of known variance is, in expectation, a penalty."""
        expert = clone(self.expert)
        return expert.set_params(alpha=expert.alpha + penalty) if penalty else expert

    def predict_proba(self, X):
        return self.gate_.predict_proba(X)

    def predict(self, X):
        return np.einsum("nk,kn...->n...", self.predict_proba(X), [e.predict(X) for e in self.experts_])

    def predict_told(self, X, bins):
        codes = np.searchsorted(self.gate_.classes_, bins)
        return np.stack([expert.predict(X) for expert in self.experts_])[codes, np.arange(len(X))]


class ByHand(Tool):
    package, name = "scikit-learn", "by hand"
    settings = "PCA, LogisticRegression and a loop of Ridge, soft"
    needs_bins = True

    def estimator(self):
        return HandWritten(Ridge(self.alpha), self.n_components)

    def predict_told(self, train, test):
        return self.fit(*train).predict_told(test[0], test[2])

    @workaround("`KMeans` makes the labels")
    def fit_unlabelled(self, X, y):
        return self.fit(X, y, KMeans(self.n_regimes, n_init=3, random_state=0).fit_predict(X)).predict

    @workaround("three predictions and a formula")
    def evaluate(self, model, test):
        X, y, bins = test
        predictions = model.global_.predict(X), model.predict(X), model.predict_told(X, bins)
        one_ridge, soft, oracle = (r2_score(y, prediction) for prediction in predictions)
        return {"rho": (soft - one_ridge) / (oracle - one_ridge)}

    @workaround("rows times variance added to the penalty, for white noise only")
    def fit_noise_known(self, X, y, bins, x_std):
        return super().fit_noise_known(X, y, bins, x_std)

    @workaround("quantiles of held-out residuals")
    def intervals(self, train, held_out, X):
        model = self.fit(*train)
        low, high = np.quantile(held_out[1] - model.predict(held_out[0]), LOW_HIGH)
        return model.predict(X) + low, model.predict(X) + high

    def coefficients(self, model):
        return [expert.coef_ for expert in model.experts_]

    def other_experts(self):
        return HandWritten(RandomForestRegressor(20, random_state=0))

    @workaround("`LogisticRegression` as the expert, votes weighted by the gate")
    def classifier(self):
        return HandWritten(LogisticRegression(max_iter=1000))


class OneRidge(ByHand):
    settings = "one Ridge over all rows"

    def estimator(self):
        return Ridge(self.alpha)

    def fit(self, X, y, bins, **options):
        return self.estimator().fit(X, y)


# scikit-lego


class Grouped(Tool):
    package, name = "scikit-lego", "scikit-lego"
    modules = ("sklego.meta",)
    settings = "GroupedPredictor(Ridge): told the regime"
    told = True

    def grouped(self, expert):
        return self.load("sklego.meta", "GroupedPredictor")(expert, groups=0)

    def estimator(self):
        return self.grouped(Ridge(self.alpha))

    def fit(self, X, y, bins, **options):
        return self.estimator().fit(with_column(X, bins), y, **options)

    def predict(self, model, X, bins=None):
        return np.asarray(model.predict(with_column(X, bins)))

    @workaround("a classifier before it names the group: hard")
    def fit_labelled(self, X, y, bins):
        gate, model = router().fit(X, bins), self.fit(X, y, bins)
        return lambda rows: self.predict(model, rows, gate.predict(rows))

    @workaround("`KMeans` makes the groups")
    def fit_unlabelled(self, X, y):
        clusters = KMeans(self.n_regimes, n_init=3, random_state=0).fit(X)
        model = self.fit(X, y, clusters.labels_)
        return lambda rows: self.predict(model, rows, clusters.predict(rows))

    def predict_told(self, train, test):
        return self.predict(self.fit(*train), test[0], test[2])

    @workaround("two models, of `QuantileRegressor`")
    def intervals(self, train, held_out, X):
        return quantile_experts(self.grouped, with_column(train[0], train[2]), train[1], X)

    def coefficients(self, model):
        return [expert.coef_ for expert in model.estimators_.values()]

    def other_experts(self):
        return self.grouped(RandomForestRegressor(20, random_state=0))

    def classifier(self):
        return self.grouped(LogisticRegression(max_iter=1000))


class RoutedGroups(Grouped):
    settings = "the same behind a LogisticRegression that names the group"
    told = False

    def fit(self, X, y, bins, **options):
        return self.fit_labelled(X, y, bins)

    def fit_labelled(self, X, y, bins):
        gate = make_pipeline(PCA(self.n_components, random_state=0), router()).fit(X, bins)
        model = Grouped.fit(self, X, y, bins)
        return lambda rows: Grouped.predict(self, model, rows, gate.predict(rows))

    def predict(self, model, X, bins=None):
        return model(X)


class Hierarchical(Grouped):
    settings = "HierarchicalRegressor(Ridge, shrinkage='relative'): told the regime, of Teff and of [M/H]"

    def estimator(self):
        regressor = self.load("sklego.meta", "HierarchicalRegressor")
        return regressor(Ridge(self.alpha), groups=[0, 1], shrinkage="relative")

    def fit(self, X, y, bins, **options):
        return super().fit(with_column(X, bins % 3), y, bins // 3, **options)

    def predict(self, model, X, bins=None):
        return super().predict(model, with_column(X, bins % 3), bins // 3)


def quantile_experts(make, X, y, X_test):
    """Lower and upper ends from two models of quantiles."""
    experts = (QuantileRegressor(quantile=q, alpha=0.0) for q in LOW_HIGH)
    return [make(expert).fit(X, y).predict(X_test) for expert in experts]


# mlinsights


class Piecewise(ByAClassifier, Tool):
    package, name = "mlinsights", "mlinsights"
    modules = ("mlinsights.mlmodel",)

    @property
    def settings(self):
        return f"PiecewiseRegressor(tree of {self.n_regimes} leaves, Ridge)"

    def piecewise(self, expert, binner=None):
        if binner is None:
            binner = DecisionTreeRegressor(max_leaf_nodes=self.n_regimes, random_state=0)
        return self.load("mlinsights.mlmodel", "PiecewiseRegressor")(binner, expert)

    def estimator(self):
        return self.piecewise(Ridge(self.alpha))

    @workaround("a tree fitted to the labels, frozen, as the binner: hard")
    def fit_labelled(self, X, y, bins):
        tree = DecisionTreeClassifier(max_leaf_nodes=4 * self.n_regimes, random_state=0).fit(X, bins)
        return self.piecewise(Ridge(self.alpha), FrozenEstimator(tree)).fit(X, y).predict

    @workaround("your own binner, which reads the group from a column")
    def predict_told(self, train, test):
        X, y, bins = train
        known = np.unique(bins)
        model = self.piecewise(Ridge(self.alpha), FirstColumn(known)).fit(with_column(X, bins), y)
        return model.predict(with_column(test[0], test[2]))

    @workaround("two models, of `QuantileRegressor`")
    def intervals(self, train, held_out, X):
        return quantile_experts(self.piecewise, *train[:2], X)

    def coefficients(self, model):
        return [expert.coef_ for expert in model.estimators_]

    def other_experts(self):
        return self.piecewise(RandomForestRegressor(20, random_state=0))

    def classifier(self):
        tree = DecisionTreeClassifier(max_leaf_nodes=self.n_regimes, random_state=0)
        expert = LogisticRegression(max_iter=1000)
        return self.load("mlinsights.mlmodel", "PiecewiseClassifier")(tree, expert)


class FirstColumn(BaseEstimator):
    """Indicators of the labels in the first column."""

    def __init__(self, labels):
        self.labels = labels

    def fit(self, X, y=None):
        self.encoder_ = OneHotEncoder(categories=[self.labels]).fit(X[:, :1])
        return self

    def transform(self, X):
        return self.encoder_.transform(X[:, :1])


# linear-tree


class LinearTree(ByAClassifier, Tool):
    package, name = "linear-tree", "linear-tree"
    modules = ("lineartree",)
    settings = "LinearTreeRegressor(Ridge), defaults"

    def estimator(self):
        return self.load("lineartree", "LinearTreeRegressor")(Ridge(self.alpha))

    @workaround("a classifier's probabilities as the columns to split on")
    def fit_labelled(self, X, y, bins):
        gate = router().fit(X, bins)
        seen = cross_val_predict(router(), X, bins, method="predict_proba")
        columns = np.arange(X.shape[1], X.shape[1] + seen.shape[1])
        model = self.estimator().set_params(split_features=columns, linear_features=np.arange(X.shape[1]))
        model.fit(np.hstack([X, seen]), y)
        return lambda rows: model.predict(np.hstack([rows, gate.predict_proba(rows)]))

    def predict_told(self, train, test):
        model = self.estimator().set_params(categorical_features=[0], split_features=[0])
        model.fit(with_column(train[0], train[2]), train[1])
        return model.predict(with_column(test[0], test[2]))

    def coefficients(self, model):
        return [leaf["models"].coef_ for leaf in model.summary(only_leaves=True).values()]

    @workaround("two models, of `QuantileRegressor`")
    def intervals(self, train, held_out, X):
        return quantile_experts(lambda e: self.estimator().set_params(base_estimator=e), *train[:2], X)

    def other_experts(self):
        forest = RandomForestRegressor(20, random_state=0)
        return self.estimator().set_params(base_estimator=forest)

    def classifier(self):
        return self.load("lineartree", "LinearTreeClassifier")(LogisticRegression(max_iter=1000))


class LinearForest(LinearTree):
    settings = "LinearForestRegressor(Ridge), max_features='sqrt'"

    def estimator(self):
        forest = self.load("lineartree", "LinearForestRegressor")
        return forest(Ridge(self.alpha), max_features="sqrt", random_state=0)


# GEMSEO


class Gemseo(ByAClassifier, Tool):
    package, name = "gemseo", "GEMSEO"
    modules = ("gemseo.datasets.io_dataset", "gemseo.mlearning.regression.algos.moe")
    few_inputs = True
    experts = "LinearRegressor"

    @property
    def settings(self):
        return f"MOERegressor(hard=False), KMeans({self.n_regimes}), ridge, default scaling"

    def unfitted(self, X, y):
        """Make a model. Its constructor takes the data."""
        data = self.load("gemseo.datasets.io_dataset", "IODataset")()
        data.add_input_group(X)
        data.add_output_group(np.reshape(y, (len(y), -1)))
        kind = self.load("gemseo.mlearning.regression.algos.moe", "MOERegressor")
        model = kind(data, hard=False, transformer=kind.DEFAULT_TRANSFORMER)
        model.set_clusterer("KMeans", n_clusters=self.n_regimes)
        penalty = {"penalty_level": self.alpha} if self.experts == "LinearRegressor" else {}
        model.set_regressor(self.experts, **penalty)
        return model

    def fit(self, X, y, bins, **options):
        model = self.unfitted(X, y)
        model.learn(**options)
        return model

    def estimator(self):
        return self.unfitted(np.zeros((4, 2)), np.zeros(4))

    def predict(self, model, X, bins=None):
        return np.squeeze(model.predict(X))

    def fit_unlabelled(self, X, y):
        model = self.fit(X, y, None)
        return lambda rows: self.predict(model, rows)

    def predict_told(self, train, test):
        model = self.fit(with_column(train[0], train[2]), train[1], None)
        return self.predict(model, with_column(test[0], test[2]))

    def regime_proba(self, model, X):
        return model.classifier.predict_proba(X, hard=False)[:, :, 0]

    def fit_batches(self, batches):
        model = self.fit(*batches[0])
        for batch in batches[1:]:
            model.partial_fit(*batch[:2])

    def coefficients(self, model):
        return [np.ravel(local.coefficients) for local in model.regress_models]

    def other_experts(self):
        tool = type(self)(self.alpha, self.n_regimes, self.n_components)
        tool.experts = "RandomForestRegressor"
        return tool


# SMT


class Smt(ByAClassifier, Tool):
    package, name = "smt", "SMT"
    modules = ("smt.applications.moe",)
    few_inputs = True
    experts = ("LS",)

    @property
    def settings(self):
        return f"MOE(n_clusters={self.n_regimes}, allow={list(self.experts)}), smooth"

    def fit(self, X, y, bins, **options):
        model = self.estimator()
        y = np.reshape(np.asarray(y, float), (len(y), -1))
        model.set_training_values(np.asarray(X, float), y)
        model.train(**options)
        return model

    def estimator(self):
        variances = bool(set(self.experts) & {"KRG"})
        return self.load("smt.applications.moe", "MOE")(
            n_clusters=self.n_regimes, allow=list(self.experts), variances_support=variances
        )

    def predict(self, model, X, bins=None):
        return np.squeeze(model.predict_values(np.asarray(X, float)))

    def fit_unlabelled(self, X, y):
        model = self.fit(X, y, None)
        return lambda rows: self.predict(model, rows)

    def predict_told(self, train, test):
        model = self.fit(with_column(train[0], train[2]), train[1], None)
        return self.predict(model, with_column(test[0], test[2]))

    def intervals(self, train, held_out, X):
        tool = type(self)(self.alpha, self.n_regimes)
        tool.experts = ("KRG",)
        model = tool.fit(*train)
        middle, width = tool.predict(model, X), NORMAL_90 * np.sqrt(model.predict_variances(X).ravel())
        return middle - width, middle + width

    def other_experts(self):
        tool = type(self)(self.alpha, self.n_regimes)
        tool.experts = ("QP",)
        return tool


class SmtOfFour(Smt):
    """Its mixture cannot fit nine clusters of the Gaia spectra."""

    def __init__(self, alpha=1.0, n_regimes=4, n_components=8):
        super().__init__(alpha, 4, n_components)


# cgmm


class Cgmm(ByAClassifier, Tool):
    package, name = "cgmm", "cgmm"
    modules = ("cgmm",)
    few_inputs = True
    proba_names = ("responsibilities",)

    @property
    def settings(self):
        return f"ConditionalGMMRegressor({self.n_regimes})"

    def estimator(self):
        return self.load("cgmm", "ConditionalGMMRegressor")(self.n_regimes, random_state=0)

    def predict_told(self, train, test):
        model = self.estimator().fit(with_column(train[0], train[2]), train[1])
        return model.predict(with_column(test[0], test[2]))

    def intervals(self, train, held_out, X):
        draws = self.fit(*train).sample(X, 400)
        return np.quantile(draws[..., 0], LOW_HIGH, axis=1)


class GatedCgmm(Cgmm):
    @property
    def settings(self):
        return f"MixtureOfExpertsRegressor({self.n_regimes})"

    def estimator(self):
        return self.load("cgmm", "MixtureOfExpertsRegressor")(self.n_regimes, random_state=0)


# LightGBM


class LightGbm(ByAClassifier, Tool):
    package, name = "lightgbm", "LightGBM"
    modules = ("lightgbm",)
    settings = "LGBMRegressor(linear_tree=True), defaults"

    def estimator(self, **options):
        settings = {"linear_tree": True, "verbose": -1, "random_state": 0, "n_jobs": 1} | options
        return self.load("lightgbm", "LGBMRegressor")(**settings)

    @workaround("`linear_tree=False`")
    def fit_missing(self, X, y, bins):
        return self.estimator(linear_tree=False).fit(X, y)

    def predict_told(self, train, test):
        model = self.estimator()
        model.fit(with_column(train[0], train[2]), train[1], categorical_feature=[0])
        return model.predict(with_column(test[0], test[2]))

    def fit_batches(self, batches):
        lightgbm = import_module("lightgbm")

        class Rows(lightgbm.Sequence):
            batch_size = 100

            def __init__(self, X):
                self.X = X

            def __getitem__(self, index):
                return self.X[index]

            def __len__(self):
                return len(self.X)

        parts, y = [Rows(X) for X, _, _ in batches], np.concatenate([y for _, y, _ in batches])
        params = {"linear_tree": True, "verbose": -1, "seed": 0, "num_threads": 1}
        return lightgbm.train(params, lightgbm.Dataset(parts, y, params=params))

    def intervals(self, train, held_out, X):
        models = (self.estimator(objective="quantile", alpha=q) for q in LOW_HIGH)
        return [model.fit(*train[:2]).predict(X) for model in models]

    def coefficients(self, model):
        leaves, queue = [], [tree["tree_structure"] for tree in model.booster_.dump_model()["tree_info"]]
        while queue:
            node = queue.pop()
            queue += [node[side] for side in ("left_child", "right_child") if side in node]
            leaves += [node["leaf_coeff"]] if "leaf_coeff" in node else []
        return leaves

    def classifier(self):
        return self.load("lightgbm", "LGBMClassifier")(linear_tree=True, verbose=-1, n_jobs=1)


TOOLS = [Mixture, ByHand, Grouped, Piecewise, LinearTree, Gemseo, Smt, Cgmm, LightGbm]
VARIANTS = [
    LogisticMixture,
    OracleMixture,
    OneRidge,
    RoutedGroups,
    Hierarchical,
    LinearForest,
    SmtOfFour,
    GatedCgmm,
]
