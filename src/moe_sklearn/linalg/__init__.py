"""Symmetric matrices given by a triangle: products, solutions, eigenvectors; also maps, kernels, threads."""

from ._cholesky import NotEnoughDigits, ProductsOverflow, Scratch, solve_spd, warn_singular
from ._eigen import largest_eigenvectors, solve_path, solve_roughly
from ._kernels import Kernels, centred, kernel_of
from ._linear_maps import LevelStack, LinearPart, LinearStack, is_overridden, origin_of
from ._threads import few_threads, map_in_threads, one_blas_thread
from ._triangles import (
    EPS,
    EPS32,
    available_memory,
    copy_lower,
    lower_bytes,
    lower_panels,
    rounding,
    row_product,
    sum_of_squares,
    symmetric_product,
    syrk,
    transposed_product,
    zeros_lower,
)
