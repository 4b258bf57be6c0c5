"""Outputs of a fitted mixture beyond predictions: weights, experts, intervals, explanations, a report."""

from typing import Any, NoReturn, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._checks import check_choice, check_number
from ..binning import Regimes, first_target
from ..data import Rows, aligned, check_x_std, feature_names, features_of, rows_of, without_ignored
from ..experts import BinnedRidgeExperts
from ..metrics import MODES, Mixing, MoEReport, conformal_scores, interval_widths, make_report
from ._contributions import Contributions
from ._predictor import MixturePredictor, Outputs, mix, total_std


def in_shape_of_y(mixture, array, axis=-1):
    """Remove the axis of the targets if y had none in `fit`."""
    return np.squeeze(array, axis) if mixture.experts_.coef_.ndim == 2 else array


def check_residuals(residual_variance):
    """Raise a ValueError if there are no residuals of rows that the experts have not seen."""
    if residual_variance is None:
        raise ValueError(
            "return_std and intervals need residuals of rows that the experts have not seen, and a gate that "
            "sees only features has none: fit with gate_inputs=('features', 'experts'), or "
            "gate='regression'."
        )


class MixtureOutputs:
    """Methods of a fitted `SoftGateMoERegressor` that read `predictor_` and `regimes_`."""

    mixing: Mixing
    experts_: BinnedRidgeExperts
    predictor_: MixturePredictor
    regimes_: Regimes
    bins_: np.ndarray
    residual_variance_: np.ndarray | None
    interval_scores_: dict[int, np.ndarray]
    interval_mixing_: Mixing
    n_train_: int

    def assign_bins(self, bins) -> np.ndarray:
        """Find the position of each row's bin in `bins_`.

        Parameters
        ----------
        bins : array-like of shape (n_samples,) or (n_samples, n_columns)
            Labels, or side information as in `fit`.

        Returns
        -------
        ndarray of shape (n_samples,), int
            -1 for a row in no bin, and for a row in a bin without an expert.
        """
        check_is_fitted(self)
        return self.regimes_.codes(bins)

    def gate_proba(self, X, *, x_std=None) -> np.ndarray:
        """Predict the probability of each bin.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        x_std : float or array-like, default=None
            Noise of the rows, as in `predict`.

        Returns
        -------
        ndarray of shape (n_samples, n_bins)
            Columns are in the order of `bins_`; rows sum to 1.
        """
        return self._map(lambda outputs: outputs.proba, X, x_std, proba=True)

    def expert_weights(self, X, *, x_std=None) -> np.ndarray:
        """Compute the gate's weights of experts, global ridge and anchors, which mode "soft" uses.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        x_std : float or array-like, default=None
            Noise of the rows, as in `predict`.

        Returns
        -------
        ndarray of shape (n_samples, n_bins + 1 + n_anchors) or (n_samples, n_bins)
            First the experts in the order of `bins_`, then the global ridge, then the anchors in the order of
            `anchors_`. A classifier weighs only the experts. Rows sum to 1.
        """
        return self._map(lambda outputs: outputs.weights, X, x_std, weights=True)

    def gate_inputs_of(self, X, *, x_std=None) -> np.ndarray:
        """Compute the inputs of the gate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        x_std : float or array-like, default=None
            Noise of the rows, as in `predict`.

        Returns
        -------
        ndarray of shape (n_samples, n_inputs)
            The inputs that `gate_inputs_` lists, side by side, then the level of the noise, if it is given.
        """
        check_is_fitted(self)
        source = features_of(self, X)
        return self._predictor_of(X, source, x_std).inputs(source)

    def predict_experts(self, X, *, x_std=None) -> np.ndarray:
        """Predict with every expert.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        x_std : float or array-like, default=None
            Noise of the rows, as in `predict`.

        Returns
        -------
        ndarray of shape (n_samples, n_bins) or (n_samples, n_bins, n_targets)
            In the order of `bins_`.
        """
        return in_shape_of_y(self, self._map(lambda outputs: outputs.predictions[:, :-1], X, x_std))

    def _map(self, finish, X, x_std, **wanted):
        """Join ``finish(outputs)`` of all blocks of rows, see `MixturePredictor.map`."""
        check_is_fitted(self)
        source = features_of(self, X)
        return self._predictor_of(X, source, x_std).map(finish, source, **wanted)

    def _predictor_of(self, X, source, x_std, sample_weight=None) -> MixturePredictor:
        """Return the predictor of the rows of X that have weight, with their noise if it is given."""
        if x_std is None:
            return self.predictor_
        x_std = aligned(x_std, X, "x_std") if hasattr(x_std, "columns") else x_std
        return self.predictor_.of_rows(check_x_std(x_std, source.shape), source, sample_weight)

    def _rows_to_mix(self, X, bins, mixing=None, **options) -> tuple[Mixing, Rows, list[np.ndarray]]:
        """Check rows to predict; return the mode, the rows, and the codes of their bins in mode "oracle"."""
        check_is_fitted(self)
        mixing = self.mixing if mixing is None else mixing
        check_choice(mixing, "mixing", MODES)
        # Side columns of a file are read only if needed.
        if mixing != "oracle" and bins is None and not options:
            return mixing, Rows(features_of(self, X)), []
        rows = rows_of(self, X, bins=bins, lazy=not options, **options)
        codes = [self.regimes_.oracle_codes(rows.labels, len(rows))] if mixing == "oracle" else []
        return mixing, rows, codes

    def _map_with_std(self, finish, predictor, rows, codes, mixing):
        """Join ``finish(prediction, std, bin)`` of all blocks of rows, with told or most probable bins."""
        check_residuals(self.residual_variance_)
        anchors, variance = predictor.anchors, self.residual_variance_

        def of_block(outputs, codes=None):
            if codes is not None:  # A known bin has probability 1; rows in no bin keep theirs.
                told = np.where(codes[:, None] < 0, outputs.proba, np.eye(outputs.proba.shape[1])[codes])
                outputs = Outputs(outputs.predictions, outputs.weights, told)
            prediction = mix(mixing, outputs, anchors, codes)
            return finish(prediction, total_std(prediction, outputs, variance), outputs.proba.argmax(axis=1))

        return predictor.map(of_block, rows.X, *codes, weights=mixing == "soft", proba=True)

    def calibrate(self, X, y, *, bins=None, per_bin=False, groups=None, x_std=None) -> Self:
        """Learn the widths of the intervals of `predict_interval` from held-out rows.

        The intervals are those of the parameter `mixing`. If you change it, calibrate again.

        This is split conformal prediction with the score ``|y - m(x)| / std(x)`` (Lei, G'Sell, Rinaldo,
        Tibshirani and Wasserman, 2018, Journal of the American Statistical Association 113, 1094-1111,
        section 5.2).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that were not used in `fit`, from the same distribution as the rows to predict.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        bins : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
            Labels or side information, for ``mixing="oracle"`` only, as in `predict`.
        per_bin : bool, default=False
            Whether each most probable bin gets its own widths. The coverage then holds within each bin. With
            ``mixing="oracle"``, the row's own bin replaces the most probable one.
        groups : array-like of shape (n_samples,), default=None
            Rows with the same label belong together, such as spectra of one star. None means the
            `group_column` of X, or, if X lacks it, that rows have nothing in common.
        x_std : float or array-like, default=None
            Noise of the rows, as in `predict`.

        Returns
        -------
        SoftGateMoERegressor
            This estimator.

        Raises
        ------
        ValueError
            If X and y differ in length, X or y holds nan or infinity, or `residual_variance_` is None. Also
            if `bins` are missing with ``mixing="oracle"``.
        """
        check_is_fitted(self)
        given = {"y": y, "groups": groups, "n_targets": self.predictor_.n_targets}
        mixing, rows, codes = self._rows_to_mix(X, bins, **given)
        to_mix = self._predictor_of(X, rows.X, x_std), rows, codes, mixing
        prediction, std, of_rows = self._map_with_std(lambda *parts: parts, *to_mix)
        found = conformal_scores(rows.y, prediction, std, of_rows if per_bin else None, rows.groups)
        self.interval_scores_, self.interval_levels_ = found
        self.interval_mixing_ = mixing
        return self

    def predict_interval(self, X, *, bins=None, coverage=0.9, x_std=None) -> np.ndarray:
        """Predict intervals that contain the target of a new row with probability `coverage` or more.

        The interval is m(x) -+ q std(x), where q is the ceil((n + 1) coverage)-th smallest of the n scores of
        `calibrate`. The new rows and those of `calibrate` must be exchangeable. The probability is then at
        least `coverage`, even if the model is wrong. It is taken over both sets of rows.

        With groups in `calibrate`, the groups must be exchangeable, and so must the rows within each group.
        The probability is then that for a row of a new group. Each group counts as one, whatever its number
        of rows, so that 10 groups allow a coverage of at most 10 / 11. Nothing is promised for further rows
        of the same groups, which are predicted better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        bins : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
            Labels or side information, for ``mixing="oracle"`` only, as in `predict`.
        coverage : float in (0, 1), default=0.9
        x_std : float or array-like, default=None
            Noise of the rows, as in `predict`.

        Returns
        -------
        ndarray of shape (n_samples, 2) or (n_samples, 2, n_targets)
            Lower and upper ends; infinite if `calibrate` had too few rows for this coverage.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If `calibrate` was not called.
        ValueError
            If `coverage` does not lie between 0 and 1, or X holds nan or infinity. Also if `mixing` is not
            that of `calibrate`, or `bins` are missing with ``mixing="oracle"``.
        """
        check_is_fitted(self, "interval_scores_", msg="Call calibrate with held-out rows first.")
        if self.interval_mixing_ != self.mixing:
            raise ValueError(
                f"The intervals were calibrated with mixing={self.interval_mixing_!r}, now mixing is "
                f"{self.mixing!r}: call calibrate again, or set mixing back."
            )
        mixing, rows, codes = self._rows_to_mix(X, bins)
        widths = interval_widths(self.interval_scores_, self.interval_levels_, coverage, len(self.bins_))

        def of_block(prediction, std, groups):
            half = widths[groups] * std
            return np.stack([prediction - half, prediction + half], axis=1)

        predictor = self._predictor_of(X, rows.X, x_std)
        return in_shape_of_y(self, self._map_with_std(of_block, predictor, rows, codes, mixing))

    def local_coef(self, X, *, x_std=None) -> np.ndarray:
        r"""Compute the coefficients of the soft mixture at each row.

        They are :math:`\sum_k p_k(x) c_k`, with the gate's weights :math:`p_k` and the coefficients
        :math:`c_k` of the experts and of the global ridge: the slopes of the prediction at fixed weights.
        Anchors have no slope.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        x_std : float or array-like, default=None
            Noise of the rows, as in `predict`.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_targets, n_features)
        """
        check_is_fitted(self)
        source = features_of(self, X, lazy=False)
        return in_shape_of_y(self, self._predictor_of(X, source, x_std).local_coef(source), axis=1)

    def contributions(self, X, *, x_std=None) -> Contributions:
        r"""Divide the soft prediction among the columns of X.

        The contribution of column j is :math:`\sum_k p_k(x) c_{kj} (x_j - \bar x_j)`, with the gate's weights
        :math:`p_k`, the coefficients :math:`c_k` of the experts and of the global ridge, and the mean of the
        training rows. The base is the rest: the prediction of these models and of the anchors at that mean,
        with the weights of the row. The weights are held fixed, as in `local_coef`, so that the base includes
        the effect of a column through the gate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        x_std : float or array-like, default=None
            Noise of the rows, as in `predict`.

        Returns
        -------
        Contributions
            ``values`` of shape (n_samples, n_features) or (n_samples, n_features, n_targets), ``base_values``
            of shape (n_samples,) or (n_samples, n_targets), ``data`` and ``feature_names``. The values of a
            row and its base add up to ``predict(X, mixing="soft")``. ``shap.Explanation(**vars(result))``
            makes the input of shap's plots.

        Raises
        ------
        ValueError
            If X holds nan or infinity.

        Notes
        -----
        For fixed weights the prediction is linear in X. Its Shapley values, with independent columns and the
        mean of the training rows as background, are these contributions: Lundberg and Lee (2017), "A unified
        approach to interpreting model predictions", NeurIPS, corollary 1.

        Examples
        --------
        >>> import numpy as np
        >>> from moe_sklearn import SoftGateMoERegressor
        >>> rng = np.random.default_rng(0)
        >>> X, regime = rng.normal(size=(600, 4)), rng.choice(["hot", "cool"], 600)
        >>> model = SoftGateMoERegressor().fit(X, X[:, 1], bins=regime)
        >>> parts = model.contributions(X)
        >>> parts.values.shape
        (600, 4)
        >>> np.allclose(parts.values.sum(axis=1) + parts.base_values, model.predict(X))
        True
        """
        check_is_fitted(self)
        source = features_of(self, X)
        values, base = self._predictor_of(X, source, x_std).contributions(source)
        rows = source.X if hasattr(source, "X") else source.take(np.arange(len(source)))
        names = feature_names(self)
        names = None if names is None else names.tolist()
        return Contributions(in_shape_of_y(self, values), in_shape_of_y(self, base), rows, names)

    @property
    def coef_(self) -> NoReturn:
        """A mixture has no `coef_`. The AttributeError says what it has instead."""
        raise AttributeError(
            "A mixture has no coef_ and no feature_importances_: its coefficients differ from row to row. "
            "local_coef(X) and contributions(X) show those of each row, experts_.coef_ those of the experts. "
            "RFE and SelectFromModel take importance_getter='experts_.coef_'; "
            "sklearn.inspection.permutation_importance needs no coefficients."
        )

    feature_importances_ = coef_

    def expert_table(self, *, n_strongest=3, column_names=None) -> dict[str, list]:
        """List rows, penalty, residual and strongest columns of each expert.

        Parameters
        ----------
        n_strongest : int, default=3
            Number of columns listed for each expert.
        column_names : array-like of shape (n_features,), default=None
            Names of the columns of X, e.g. wavelengths. None means the feature names seen in `fit`, or the
            positions if there are none.

        Returns
        -------
        dict of str to list
            One value per bin under each key, as `pandas.DataFrame` takes it: "bin", "n_train", "alpha"
            ("n_components" for `BinnedPLSExperts`), "residual_std" (a list of those of each target if there
            are several; nan if `residual_variance_` is None) and "strongest" (the columns with the largest
            absolute coefficients, relative to the largest of any expert, and summed over the targets).

        Raises
        ------
        ValueError
            If the number of `column_names` is not n_features, or `n_strongest` is negative.
        """
        check_is_fitted(self)
        check_number(n_strongest, "n_strongest", 0, np.inf, integer=True)
        coef, variance = self.predictor_.expert_coef, self.residual_variance_
        names = feature_names(self) if column_names is None else column_names
        names = np.arange(coef.shape[2]) if names is None else np.asarray(names)
        if len(names) != coef.shape[2]:
            raise ValueError(
                f"column_names has {len(names)} names, X has {coef.shape[2]} columns: pass a name for each."
            )
        # Targets have different units.
        sizes = np.abs(coef) / np.maximum(np.abs(coef).max(axis=(0, 2), keepdims=True), np.finfo(float).tiny)
        strongest = np.argsort(-sizes.sum(axis=1), axis=1, kind="stable")[:, :n_strongest]
        std = np.sqrt(np.full(coef.shape[:2], np.nan) if variance is None else variance)
        tuned = self.experts_.tuned_parameter
        return {
            "bin": list(self.regimes_.names),
            "n_train": self.regimes_.counts.tolist(),
            tuned: getattr(self.experts_, f"{tuned}_").tolist(),
            "residual_std": (std if std.shape[1] > 1 else std[:, 0]).tolist(),
            "strongest": [names[row].tolist() for row in strongest],
        }

    def evaluate(
        self,
        X,
        y,
        *,
        bins=None,
        sample_weight=None,
        x_std=None,
        n_resamples=1000,
        confidence_level=0.95,
        random_state: Any = 0,
        regime_value=None,
        errors=False,
    ) -> MoEReport:
        """Compare all mixing modes on held-out rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        bins : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
            Labels or side information. It can be None only if X has the side columns, or if it was None in
            `fit`.
        sample_weight : array-like of shape (n_samples,), default=None
        x_std : float or array-like, default=None
            Noise of the rows, as in `predict`.
        n_resamples, confidence_level, random_state
            Parameters of the bootstrap interval of rho, see `rho_interval`.
        regime_value : RegimeValue, default=None
            Result of `moe_sklearn.regime_value`, usually for the training rows. The report then compares soft
            mixing with your bins, with the best other bins and with one bin.
        errors : bool, default=False
            Whether to report also RMSEP, bias, SEP and RPD of each mode, see `prediction_errors`.

        Returns
        -------
        MoEReport
            R2 of each mode, rho with its interval, routing accuracy and coverage, for all rows and per bin.
            Also the mean `expert_weights` by bin, and the number of rows outside the training range.

        Raises
        ------
        ValueError
            If `bins` are missing, if lengths differ, or X or y holds nan or infinity.

        Warns
        -----
        UserWarning
            If no training row had some of the labels: their rows are not covered.

        Notes
        -----
        The pass over X does not keep extremes of its columns. The training range is that of the gate's inputs
        (`gate_inputs_of`) over the rows that trained it. A row is outside if one of its inputs lies beyond
        this range by more than a tenth of the range's width. Closer to the ends, there are always some rows
        by chance.
        """
        check_is_fitted(self)
        rows = rows_of(self, X, y, bins, sample_weight, n_targets=self.predictor_.n_targets)
        labels = rows.labels
        if labels is None and self.regimes_.of_target:
            labels = first_target(rows.y)
        codes = self.regimes_.oracle_codes(
            labels, len(rows), 0.0, "these rows are not covered, and not scored"
        )
        predictor = self._predictor_of(X, rows.X, x_std, rows.sample_weight)
        weight, source, y, codes = without_ignored(rows.sample_weight, rows.X, rows.y, codes)

        n_bins, n_anchors = len(self.bins_), len(predictor.anchors)

        def of_block(outputs, codes):
            mixed = [mix(mode, outputs, predictor.anchors, codes) for mode in MODES]
            n_models = outputs.weights.shape[1] - n_anchors
            # float32 has enough digits for means of weights and probabilities.
            weights = np.zeros((len(codes), n_bins + 2), dtype=np.float32)
            weights[:, :n_models] = outputs.weights[:, :n_models]
            weights[:, -1] = outputs.weights[:, n_models:].sum(axis=1)
            proba = outputs.proba.astype(np.float32, copy=False)
            return proba, weights, predictor.outside(outputs.inputs), *mixed

        proba, weights, outside, *mixed = predictor.map(of_block, source, codes, weights=True, proba=True)
        return make_report(
            y_true=in_shape_of_y(self, y),
            predictions={mode: in_shape_of_y(self, part) for mode, part in zip(MODES, mixed, strict=True)},
            proba=proba,
            weights=weights,
            weight_names=[*self.regimes_.names, "global ridge", "anchors"],
            outside=outside,
            global_weight=weights[:, n_bins],
            anchor_weight=weights[:, n_bins + 1],
            bins=codes,
            bin_names=self.regimes_.names,
            dropped_bins=self.regimes_.dropped_names,
            bin_train_counts=self.regimes_.counts,
            n_train=self.n_train_,
            n_train_covered=int(self.regimes_.counts.sum()),
            sample_weight=weight,
            n_resamples=n_resamples,
            confidence_level=confidence_level,
            random_state=random_state,
            mixing=self.mixing,
            regime_value=regime_value,
            errors=errors,
        )
