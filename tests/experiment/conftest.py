import numpy as np
import pytest


@pytest.fixture
def arrays():
    """600 short spectra whose slope depends on two labels that the first pixels betray."""
    rng = np.random.default_rng(0)
    labels = rng.uniform([3750, 1, -2], [6000, 5, 0.5], size=(600, 3))
    teff, mh = (labels[:, 0] - 4875) / 1125, (labels[:, 2] + 0.75) / 1.25
    flux = rng.normal(1, 0.1, size=(600, 20))
    flux[:, 0] = teff + 2
    flux[:, 1] = mh + 2
    labels[:, 1] = 3 + 10 * teff * (flux[:, 2] - 1) + 10 * mh * (flux[:, 3] - 1)
    return {
        "flux": flux.astype(np.float32),
        "error": np.full((600, 20), 0.01, np.float32),
        "wave": np.linspace(4000, 4190, 20),
        "labels": labels,
        "label_names": np.array(["teff", "logg", "mh"]),
    }


@pytest.fixture
def source(arrays, tmp_path):
    """Path of a file with these spectra."""
    path = tmp_path / "spectra.npz"
    np.savez(path, **arrays)
    return path
