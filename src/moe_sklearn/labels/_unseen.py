"""Labels of rows to predict that no expert knows."""

import warnings

import numpy as np

from ._labels import encode_labels


def warn_of_unseen(bins, seen: list, share: float, consequence: str):
    """Warn, with the `consequence`, if this `share` of the rows has labels that are not `seen`."""
    found, codes = encode_labels(bins)
    unseen = ~np.isin(found.astype(str), [*map(str, seen)])
    n_rows = np.count_nonzero(np.append(unseen, False)[codes])
    if n_rows and n_rows >= share * len(codes):
        example = found[unseen].tolist()[0]
        told = f"bins of {n_rows} of {len(codes)} rows have no expert, such as {example!r}"
        warnings.warn(f"{told}: {consequence}.", stacklevel=4)
