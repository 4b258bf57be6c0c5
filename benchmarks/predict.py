"""Prediction against one bare GEMM of the stacked coefficients, and the latency of a single row.

python benchmarks/predict.py --n 100000 --pixels 4096 --onnx
"""

import argparse

import numpy as np
from common import best_seconds, emulate, print_header, print_machine, print_row, stacked_columns, timed
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import validate_data

from moe_sklearn import BinnedRidgeExperts, GateFeatureTransformer, SoftGateMoERegressor, to_onnx

N_TRAIN = 3000


def median_microseconds(function, repeats=500):
    return 1e6 * np.median([timed(function)[0] for _ in range(repeats)])


def plain_scikit_learn(X, y, bins):
    """The same prediction, written by hand."""
    experts = [Ridge(10.0).fit(X[bins == k], y[bins == k]) for k in np.unique(bins)]
    pca = PCA(10).fit(X)
    gate = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    gate.fit(pca.transform(X), bins)

    def predict(rows):
        proba = gate.predict_proba(pca.transform(rows))
        return sum(proba[:, k] * expert.predict(rows) for k, expert in enumerate(experts))

    return predict


def fit_mixtures(X, y, bins):
    """Mixtures with three gates: name -> fitted model."""
    with_lines = GateFeatureTransformer(wavelength=np.linspace(7100, 8850, X.shape[1]))
    steps = {
        "logistic gate on 10 PCA scores": ("logistic", GateFeatureTransformer()),
        "logistic gate on 37 features": ("logistic", with_lines),
        "regression gate (default)": ("regression", GateFeatureTransformer()),
    }
    models = {}
    for name, (gate, features) in steps.items():
        models[name] = SoftGateMoERegressor(BinnedRidgeExperts(10.0), features, gate, random_state=0)
        models[name].fit(X, y, bins=bins)
    return models


def onnx_predict(model):
    """The same prediction by onnxruntime, in one thread, as more are slower for a single row."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(to_onnx(model).SerializeToString(), options)
    return lambda X: session.run(["y"], {"X": X})[0]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--pixels", type=int, default=4096)
    parser.add_argument("--mean", type=float, default=0.0, help="is added to all columns")
    parser.add_argument("--onnx", action="store_true", help="a single row by onnxruntime too")
    args = parser.parse_args(argv)
    print_machine()
    X, y, bins = emulate(args.n, args.pixels)
    X += np.float32(args.mean)
    train = X[:N_TRAIN], y[:N_TRAIN], bins[:N_TRAIN]
    models, by_hand = fit_mixtures(*train), plain_scikit_learn(*train)
    row = X[:1]
    first = next(iter(models.values()))
    checks = median_microseconds(
        lambda: validate_data(first, row, dtype=[np.float64, np.float32], reset=False)
    )
    print(f"{args.n:,} x {args.pixels} float32; scikit-learn's own validation of a row: {checks:.0f} us\n")
    print_header("gate", "seconds", "bare GEMM", "ratio", "single row, beyond validation", "single row, ONNX")

    def report(name, predict, columns=None, model=None):
        seconds, latency = best_seconds(lambda: predict(X)), median_microseconds(lambda: predict(row))
        bare = ratio = ""
        if columns:
            weights = np.ones((args.pixels, columns), np.float32)
            gemm = best_seconds(lambda: X @ weights)
            bare, ratio = f"{gemm:.3f} ({columns} columns)", f"{seconds / gemm:.2f}"
        by_onnx = ""
        if args.onnx and model is not None:
            run = onnx_predict(model)
            error = np.abs(run(X[:N_TRAIN]) - predict(X[:N_TRAIN])).max() / y.std()
            by_onnx = f"{median_microseconds(lambda: run(row)):.0f} us ({error:.0e} sd off)"
        print_row(name, f"{seconds:.3f}", bare, ratio, f"{latency - checks:.0f} us", by_onnx)

    for name, model in models.items():
        report(name, model.predict, stacked_columns(model), model)
    report("scikit-learn by hand, 10 PCA scores", by_hand)


if __name__ == "__main__":
    main()
