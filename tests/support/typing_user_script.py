"""What a user writes; `make lint` checks its types with mypy and pyright, a test runs it."""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from moe_sklearn import (
    BinnedRidgeExperts,
    GateFeatureTransformer,
    GridBinner,
    SoftGateMoERegressor,
    rho_score,
)
from moe_sklearn.datasets import load_gaia_xp
from moe_sklearn.metrics import MODES, MoEReport
from moe_sklearn.plotting import RhoDisplay


def main() -> tuple[MoEReport, RhoDisplay]:
    flux, logg = load_gaia_xp(return_X_y=True)
    print(f"{flux.shape[0]:,} spectra, log g from {logg.min():.1f} to {logg.max():.1f}")
    gaia = load_gaia_xp()
    X, X_test, y, y_test, side, side_test = train_test_split(
        gaia.data[:, ::8], gaia.target, gaia.side, test_size=0.2, random_state=0
    )
    features = GateFeatureTransformer(n_components=5).fit(X)
    assert_type(features.transform(X_test), NDArray[Any])
    model = SoftGateMoERegressor(
        BinnedRidgeExperts(alpha=0.003),
        features,
        gate="logistic",
        gate_inputs=("features", "experts"),
        binner=GridBinner(n_bins=[2, 2], names=[["cool", "hot"], ["metal-poor", "metal-rich"]]),
        mixing="soft",
    ).fit(X, y, bins=side)
    prediction = assert_type(model.predict(X_test), NDArray[Any])
    mean, std = model.predict(X_test, return_std=True)
    print(f"rms {np.sqrt(np.mean((y_test - prediction) ** 2)):.2f}, expected {std.mean():.2f} {mean.shape}")
    by_mode = {mode: model.predict(X_test, mixing=mode, bins=side_test) for mode in MODES}
    rho = rho_score(y_test, mean, y_global=by_mode["global"], y_oracle=by_mode["oracle"])
    r2 = assert_type(model.score(X_test, y_test, bins=side_test, mixing="oracle"), float)
    report = model.evaluate(X_test, y_test, bins=side_test)
    print(f"rho {rho:.2f} of an oracle of {r2:.2f}", report, report.to_frame().loc[:, "recall"], sep="\n")
    return report, RhoDisplay.from_estimator(model, X_test, y_test, bins=side_test)


if __name__ == "__main__":
    main()
