"""Prediction against one bare GEMM of the stacked coefficients, and the latency of a single row.

python benchmarks/predict.py --n 100000 --pixels 4096
"""

import argparse
import time

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import validate_data

from moe_sklearn import BinnedRidgeExperts, GateFeatureTransformer, SoftGateMoERegressor

N_BINS, N_TRAIN = 9, 3000


def best(function, repeats=3):
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def median_microseconds(function, repeats=500):
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return 1e6 * np.median(seconds)


def plain_scikit_learn(X, y, bins):
    """The same prediction, written by hand."""
    experts = [Ridge(10.0).fit(X[bins == k], y[bins == k]) for k in range(N_BINS)]
    pca = PCA(10).fit(X)
    gate = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    gate.fit(pca.transform(X), bins)

    def predict(rows):
        proba = gate.predict_proba(pca.transform(rows))
        return sum(proba[:, k] * expert.predict(rows) for k, expert in enumerate(experts))

    return predict


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--pixels", type=int, default=4096)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    X = rng.standard_normal((args.n, args.pixels), dtype=np.float32)
    X += 1
    bins = rng.integers(0, N_BINS, N_TRAIN)
    train = X[:N_TRAIN]
    y = train[:, 0] * (bins - 4) + rng.normal(size=N_TRAIN)
    wavelength = np.linspace(7100, 8850, args.pixels)

    def fit(gate, features):
        experts = BinnedRidgeExperts(10.0)
        return SoftGateMoERegressor(experts, features, gate, random_state=0).fit(train, y, bins=bins)

    models = {
        "logistic gate on 10 PCA scores": fit("logistic", GateFeatureTransformer()),
        "logistic gate on 37 features": fit("logistic", GateFeatureTransformer(wavelength=wavelength)),
        "regression gate (default)": fit("regression", GateFeatureTransformer()),
    }
    by_hand = plain_scikit_learn(train, y, bins)
    print(f"{args.n:,} x {args.pixels} float32")
    for name, model in models.items():
        weights = model._weights
        gemm, seconds = best(lambda weights=weights: X @ weights), best(lambda model=model: model.predict(X))
        columns = f"{weights.shape[1]} stacked columns"
        print(f"{name:42} {seconds:6.3f} s, bare GEMM ({columns}) {gemm:6.3f} s: {seconds / gemm:5.2f} x")
    print(f"{'scikit-learn by hand, 10 PCA scores':42} {best(lambda: by_hand(X)):6.3f} s")

    row = X[:1]
    first = next(iter(models.values()))
    checks = median_microseconds(
        lambda: validate_data(first, row, dtype=[np.float64, np.float32], reset=False)
    )
    print(f"\nsingle row; scikit-learn's own validation {checks:.0f} us, beyond it:")
    predictors = {name: model.predict for name, model in models.items()}
    for name, predict in {**predictors, "scikit-learn by hand, 10 PCA scores": by_hand}.items():
        print(f"{name:42} {median_microseconds(lambda predict=predict: predict(row)) - checks:7.0f} us")


if __name__ == "__main__":
    main()
