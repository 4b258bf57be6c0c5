"""State of estimators: a fit sets all of it or nothing, and a pickle names its release."""

import re
import warnings
from typing import Any

from sklearn.base import BaseEstimator

from ._version import __version__

VERSION_KEY = "_moe_sklearn_version"


class StatefulEstimator(BaseEstimator):
    """Base class of estimators: a fit sets all attributes or none, and a pickle names its release.

    A method that fits works on an `unfitted_copy` and passes it to `adopt` as its last step. A fit that fails
    or is interrupted therefore leaves the estimator unchanged. The names of all fitted attributes end in "_".
    """

    # Fitted models of this class are loaded if they were written by this release or a later one.
    _readable_since: str = "0.2"

    # scikit-learn's HTML of an estimator links to the page that docs/api.rst generates for it.
    _doc_link_module = "moe_sklearn"
    _doc_link_template = "https://moe-sklearn.github.io/moe-sklearn/generated/{page}.html"

    def _doc_link_url_param_generator(self):
        # All except the gates are documented under the package that users import them from.
        package = type(self).__module__ if type(self).__module__ == "moe_sklearn.gates" else "moe_sklearn"
        return {"page": f"{package}.{type(self).__name__}"}

    def __getstate__(self):
        state = dict(super().__getstate__())
        if any(map(is_fitted_attribute, state)):
            state[VERSION_KEY] = __version__
        return state

    def __setstate__(self, state):
        state = dict(state)
        written_by = state.pop(VERSION_KEY, "0.1.0")
        if any(map(is_fitted_attribute, state)) and _release(written_by) < _release(self._readable_since):
            raise ValueError(
                f"This {type(self).__name__} was fitted by moe_sklearn {written_by}. Version {__version__} "
                f"cannot read it: load it with moe_sklearn {written_by}, or fit it again."
            )
        if any(map(is_fitted_attribute, state)) and _release(written_by) > _release(__version__):
            warnings.warn(
                f"This {type(self).__name__} was fitted by moe_sklearn {written_by}, later than this "
                f"version {__version__}: predictions can be wrong. Load it with moe_sklearn {written_by}.",
                stacklevel=2,
            )
        super().__setstate__(state)


def is_fitted_attribute(name: str) -> bool:
    """Return True if `name` is an attribute that `fit` sets."""
    return name.endswith("_") and not name.startswith("__")


def unfitted_copy(estimator, keep: tuple[str, ...] = ()) -> Any:
    """Copy an estimator with its parameters and settings, but without fitted attributes except `keep`."""
    copy = object.__new__(type(estimator))
    copy.__dict__ = {k: v for k, v in vars(estimator).items() if not is_fitted_attribute(k) or k in keep}
    return copy


def adopt(estimator, fitted):
    """Give `estimator` the state of its fitted copy, in one step, and return it."""
    estimator.__dict__ = fitted.__dict__
    return estimator


def _release(version):
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
