"""Conjugate gradients on X instead of products and factors: seconds, steps and error of the ridges.

    python benchmarks/matrix_free.py --n 50000 --pixels 4096

The nine ridges of the bins and the global ridge take their steps together: a step multiplies all rows by ten
vectors, keeps for each row the product of its bin, and multiplies by the rows again. "Difference" is the
greatest relative difference (in the Euclidean norm) from the coefficients of `BinnedRidgeExperts`.
"""

import argparse

import numpy as np
from common import emulate, print_header, print_machine, print_row, timed

from moe_sklearn import BinnedRidgeExperts
from moe_sklearn.linalg import row_product, transposed_product

BLOCK_BYTES, TOLERANCE = 2**22, 1e-6


def conjugate_gradients(X, y, codes, alpha, most_steps):
    """Coefficients (n_features, n_bins + 1), the last of them global, and the number of steps."""
    (n, d), n_bins = X.shape, codes.max() + 1
    mask = np.column_stack([np.eye(n_bins, dtype=np.float32)[codes], np.ones(n, np.float32)])
    blocks = [
        slice(start, start + BLOCK_BYTES // (4 * d) + 1) for start in range(0, n, BLOCK_BYTES // (4 * d) + 1)
    ]

    def product(right):
        return sum(transposed_product(X[rows], right[rows]).astype(float) for rows in blocks)

    means = product(mask) / mask.sum(axis=0)

    def normal_product(vectors):
        narrow, shift = vectors.astype(np.float32), (means * vectors).sum(axis=0).astype(np.float32)
        outputs = np.concatenate([(row_product(X[rows], narrow) - shift) * mask[rows] for rows in blocks])
        return product(outputs) - means * outputs.sum(axis=0, dtype=float) + alpha * vectors

    residuals = (y[:, None] - mask.T @ y / mask.sum(axis=0)) * mask
    coef, rest = np.zeros((d, n_bins + 1)), product(residuals.astype(np.float32))
    direction, sizes = rest.copy(), (rest**2).sum(axis=0)
    enough, steps = TOLERANCE**2 * sizes, 0
    while steps < most_steps and (sizes > enough).any():
        along = normal_product(direction)
        length = sizes / (direction * along).sum(axis=0)
        coef, rest = coef + length * direction, rest - length * along
        before, sizes = sizes, (rest**2).sum(axis=0)
        direction, steps = rest + sizes / before * direction, steps + 1
    return coef, steps


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--pixels", type=int, default=4096)
    parser.add_argument("--alpha", type=float, default=1e3)
    parser.add_argument("--most-steps", type=int, default=500)
    args = parser.parse_args(argv)
    print_machine()
    X, y, bins = emulate(args.n, args.pixels)
    codes = np.unique(bins, return_inverse=True)[1]
    seconds, experts = timed(lambda: BinnedRidgeExperts(args.alpha).fit(X, y, bins=bins))
    of_steps, (coef, steps) = timed(lambda: conjugate_gradients(X, y, codes, args.alpha, args.most_steps))
    expected = np.vstack([experts.coef_, experts.global_coef_[None]])
    errors = np.linalg.norm(coef.T - expected, axis=1) / np.linalg.norm(expected, axis=1)
    print_header("rows x columns", "products: s", "steps on X: s", "steps", "difference")
    shape = f"{args.n:,} x {args.pixels:,}"
    print_row(shape, f"{seconds:.2f}", f"{of_steps:.2f}", steps, f"{errors.max():.1e}")


if __name__ == "__main__":
    main()
