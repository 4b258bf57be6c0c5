"""What is in the files, for ``--dry-run``: shapes, units, missing and suspicious values, and their use."""

import warnings

import numpy as np

from ..data import BLOCK_ROWS, RowSource, numbers_in, warn_of_sentinels
from ._roles import SpectraFiles

# An error this many times the spread of the flux marks a bad pixel, and is no error.
LARGEST_ERROR = 100
# Sentinels are looked for in about so many rows.
SAMPLED_ROWS = 500


def describe(files: SpectraFiles, uses: dict[str, str]) -> list[str]:
    """Say what the files hold, in lines of text.

    Parameters
    ----------
    files : SpectraFiles
    uses : dict of {str: str}
        What is done with the labels: {name: use}.
    """
    lines = files.lines()
    if files.wavelength is not None:
        low, high = files.wavelength.min(), files.wavelength.max()
        lines.append(f"wave: {low:.7g} to {high:.7g} {files.wave_unit or 'Angstrom (no file says the unit)'}")
    flux_lines, spread = _matrix_lines("flux", files.flux)
    lines += flux_lines
    if files.error is not None:
        lines += _matrix_lines("error", files.error, LARGEST_ERROR * spread)[0]
    for name in files.columns:
        lines.append(_label_line(name, files, uses))
    return lines


def _matrix_lines(name: str, source: RowSource, largest: float = np.inf) -> tuple[list[str], float]:
    """Count missing and suspicious values of flux or errors; return lines, and the spread of the values."""
    counts, ends, some, first = [], [], [], ""
    for start, _, load in source.blocks(BLOCK_ROWS):
        block = load()
        bad = ~np.isfinite(block)
        rows, values = np.flatnonzero(bad.any(axis=1)), block[~bad]
        first = first or (source.locate(start + int(rows[0])) if rows.size else "")
        counts.append([bad.sum(), rows.size, (values < 0).sum(), (values > largest).sum()])
        ends += [values.min(initial=np.inf), values.max(initial=-np.inf)]
        some.append(block[:: len(source) // SAMPLED_ROWS + 1])
    (n_bad, n_rows, n_negative, n_large), sample = np.sum(counts, axis=0), np.concatenate(some)
    lines = [f"{name}: values from {min(ends):.6g} to {max(ends):.6g}, {n_negative:,} negative"]
    if n_bad:
        lines.append(f"{name}: {n_bad:,} values nan or infinite, in {n_rows:,} rows, the first is {first}")
    if n_large:
        lines.append(
            f"{name}: {n_large:,} values beyond {largest:.3g}, far more than the flux varies: bad pixels?"
        )
    lines += _sentinels(sample, f"Column {{}} of {name}")
    finite = sample[np.isfinite(sample)]
    return lines, float(np.ptp(np.quantile(finite, [0.01, 0.99]))) if finite.size else np.inf


def _label_line(name, files, uses):
    values, use = files.column(name, "labels"), uses.get(name)
    use = f" ({use})" if use else ""
    try:
        numbers = numbers_in(values)
    except ValueError as error:
        return f"label {name}{use}: {error}"
    if numbers is None:
        return f"label {name}{use}: text, {len(set(values.tolist())):,} different values"
    known = numbers[np.isfinite(numbers)]
    text = f"label {name}{use}: "
    text += (
        f"{known.min():.6g} to {known.max():.6g}, median {np.median(known):.6g}"
        if known.size
        else "no numbers"
    )
    text += f", {len(numbers) - known.size:,} missing" * (known.size < len(numbers))
    return "; ".join([text, *_sentinels(numbers[:, None], name)])


def _sentinels(values, name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_sentinels(values, name, "make them nan")
    return [str(warning.message) for warning in caught]
