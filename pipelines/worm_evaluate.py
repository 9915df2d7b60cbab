"""The worm recipe's scores: held-out predictions of the model and of its controls, scored alike."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from connectofit.fit import auroc, spearman, within
from connectofit.pipelines.stages import StageContext
from connectofit.pipelines.worm_fit_settings import EvaluateSettings

KEYS = ["model", "replicate", "fold_seed"]


def evaluate_worm(context: StageContext) -> None:
    """``scores.parquet``, one row a cross-validation, and ``summary.parquet``, one row a model."""
    settings: EvaluateSettings = context.settings
    q_below = float(json.loads((context.inputs["fit"] / "data.json").read_text(encoding="utf-8"))["q_below"])
    predictions = pd.read_parquet(context.inputs["fit"] / "predictions.parquet")
    assays = pd.read_parquet(context.inputs["fit"] / "assays.parquet")
    rows = [
        dict(zip(KEYS, key, strict=True)) | atlas_scores(part, q_below, settings.least)
        for key, part in predictions.groupby(KEYS, sort=False)
    ]
    scores = pd.DataFrame(rows)
    counted = assays[assays["kind"] == "assay"]
    right = pd.DataFrame(
        [
            dict(zip(KEYS, key, strict=True))
            | {"assays_right": int((part["predicted"] == part["truth"]).sum()), "assays_total": len(part)}
            for key, part in counted.groupby(KEYS, sort=False)
        ],
        columns=[*KEYS, "assays_right", "assays_total"],
    )
    majority = [
        {
            "model": "majority",
            "replicate": 0,
            "fold_seed": key,
            "assays_right": int((part["majority"] == part["truth"]).sum()),
            "assays_total": len(part),
        }
        for key, part in counted[counted["model"] == "connectome"].groupby("fold_seed", sort=False)
    ]
    scores = pd.concat([scores.merge(right, on=KEYS, how="left"), pd.DataFrame(majority)], ignore_index=True)
    scores.to_parquet(context.out / "scores.parquet", index=False)
    values = [column for column in scores.columns if column not in KEYS]
    summary = scores.groupby("model", sort=False)[values].agg(["mean", "min", "max"])
    summary.columns = ["_".join(column) for column in summary.columns]
    summary.insert(0, "runs", scores.groupby("model", sort=False).size())
    summary.reset_index().to_parquet(context.out / "summary.parquet", index=False)


def atlas_scores(part: pd.DataFrame, q_below: float, least: int) -> dict[str, float]:
    """Scores of one cross-validation: AUROC and rank correlation with \\|dF/F\\|, mean over folds, and within each
    stimulated neuron."""
    truth, size = (part["q"] < q_below).to_numpy(float), part["dff"].abs().to_numpy()
    score, fold = part["score"].to_numpy(), part["fold"].to_numpy()
    stimulated = part["stimulated"].tolist()
    by_fold = [fold == k for k in np.unique(fold)]
    return {
        "auroc": float(np.mean([auroc(truth[rows], score[rows]) for rows in by_fold])),
        "auroc_within": within("auroc", stimulated, truth, score, least),
        "spearman": float(np.mean([spearman(size[rows], score[rows]) for rows in by_fold])),
        "spearman_within": within("spearman", stimulated, size, score, least),
    }
