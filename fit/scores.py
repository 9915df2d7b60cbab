"""Scores of predictions: area under the ROC curve and rank correlation, overall and within groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from connectofit.connectome.errors import unknown_name


def auroc(truth: Float[np.ndarray, "row"], score: Float[np.ndarray, "row"]) -> float:
    """Probability that a positive row scores above a negative one, ties counted half; NaN if either is missing.

    The Mann-Whitney form of the area under the receiver operating characteristic (Hanley & McNeil 1982, Radiology
    143:29).
    """
    positive = np.asarray(truth) > 0.5
    n_positive = int(positive.sum())
    n_negative = positive.size - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def spearman(a: Float[np.ndarray, "row"], b: Float[np.ndarray, "row"]) -> float:
    """Spearman's rank correlation; NaN for fewer than three rows or a constant one."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def within(
    kind: str, groups: Sequence[object], a: Float[np.ndarray, "row"], b: Float[np.ndarray, "row"], least: int = 3
) -> float:
    """Mean over groups of ``"auroc"`` (a the truth) or ``"spearman"``.

    Groups with fewer than `least` positives or negatives (auroc), or rows (spearman), are left out.
    NaN if no group is left. Raises `UnknownNameError` for another kind.
    """
    if kind not in ("auroc", "spearman"):
        raise unknown_name("score", kind, ("auroc", "spearman"))
    a, b = np.asarray(a), np.asarray(b)
    labels = np.asarray([str(g) for g in groups])
    values = []
    for group in np.unique(labels):
        rows = labels == group
        if kind == "auroc":
            positives = int((a[rows] > 0.5).sum())
            if min(positives, int(rows.sum()) - positives) >= least:
                values.append(auroc(a[rows], b[rows]))
        elif int(rows.sum()) >= least:
            values.append(spearman(a[rows], b[rows]))
    finite = [v for v in values if np.isfinite(v)]
    return float(np.mean(finite)) if finite else float("nan")
