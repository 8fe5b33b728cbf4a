"""The clips that an audit is about."""

import pandas as pd

from earmark.corpora.split_names import DROPPED


def usable_clips(clips: pd.DataFrame, folds: pd.DataFrame | None) -> pd.DataFrame:
    """The clips table without quarantined and dropped clips, with the corrected labels.

    `folds` is what the split stage wrote, after label corrections; None before it ran.
    """
    clips = clips[~clips["quarantined"]]
    if folds is not None:
        folds = folds[folds["split"] != DROPPED]
        clips = clips[clips["clip"].isin(folds["clip"])]
        corrected = folds.set_index("clip").reindex(clips["clip"])
        values = {name: corrected[name].to_numpy() for name in ("label", "verified")}
        clips = clips.assign(**values)
    return clips.reset_index(drop=True)
