"""A smoke test of the installed wheel, for an environment that has nothing else: try_wheel.py DIST."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

MAX_WHEEL_BYTES = 4.5e6


def contents(dist: Path):
    """Check what the files in `dist` contain, and return the version that their names carry."""
    [wheel], [sdist] = dist.glob("*.whl"), dist.glob("*.tar.gz")
    size = wheel.stat().st_size
    assert size < MAX_WHEEL_BYTES, f"{wheel.name} has {size:,} bytes"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    data = "moe_sklearn/datasets/data/gaia_xp"
    for name in ("moe_sklearn/py.typed", f"{data}.npz", f"{data}.rst"):
        assert name in names, f"{wheel.name} lacks {name}"
    tops = {name.split("/")[0] for name in names}
    assert len(tops) == 2, f"{wheel.name} installs {tops}, not the package and its metadata alone"
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "Makefile", "tests/support/try_wheel.py", ".ci/run"):
        assert name in inside, f"{sdist.name} lacks {name}"
    print(f"{wheel.name}: {size / 1e6:.2f} MB")
    return wheel.name.split("-")[1]


def fit(version):
    """Fit a mixture with what is installed, which must be `version`."""
    import moe_sklearn
    from moe_sklearn.datasets import load_gaia_xp

    assert moe_sklearn.__version__ == version, f"{moe_sklearn.__version__} is installed, not {version}"
    assert Path(sys.prefix) in Path(moe_sklearn.__file__).parents, f"{moe_sklearn.__file__} is not the wheel"
    spectra = load_gaia_xp()
    X, y, side = spectra.data[::2], spectra.target[::2], spectra.side[::2]
    model = moe_sklearn.SoftGateMoERegressor(gate="logistic").fit(X, y, bins=side)
    report = model.evaluate(spectra.data[1::2], spectra.target[1::2], bins=spectra.side[1::2])
    print(report.r2)
    assert report.r2["oracle"] > report.r2["global"]
    command = [sys.executable, "-I", "-m", "moe_sklearn", "--help"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    fit(contents(Path(sys.argv[1])))
