"""What a profile sets by the recordings of a user's folder: the working rate, and the epochs."""

import math
from pathlib import Path
from typing import Any

from earmark.corpora.adapters import find
from earmark.settings.sample_rate import fit_sample_rate

USUAL_CLIPS = 400  # that the epochs of the profiles for one's own recordings are for
LEAST_EPOCHS = 20


def fit_recordings(document: Any, root: Path) -> list[str]:
    """Fit params.yaml in the making, in place, to the corpus that it reads by the adapter folder.

    Args:
        document: the mapping of params.yaml.
        root: the folder of the recordings.

    Returns:
        One line for each thing that was fitted.
    """
    clips = find("folder").read_clips(root, document["corpus"]["table"])
    n_train = int((clips["split"] == "train").sum())
    paths = list(clips["path"].unique())
    return [*fit_sample_rate(document, root, paths), *fit_epochs(document, n_train)]


def fit_epochs(document: Any, n_clips: int) -> list[str]:
    """Lower the epochs of a profile's own models, in place, where many clips train.

    By the square root of their number: of 16 times the clips a network reads each a quarter as
    often, and takes four times as many steps. The rule is ours, and measured are the epochs of some
    hundred clips alone (docs/recipes.md); the curves of the report tell whether more would help.
    """
    share = math.sqrt(min(1.0, USUAL_CLIPS / max(1, n_clips)))
    lines = []
    for name, entry in ((n, e) for group in document["models"].values() for n, e in group.items()):
        recipe = entry.get("training", {})
        usual = recipe.get("epochs", 0)
        fitting = max(min(usual, LEAST_EPOCHS), round(usual * share))
        if fitting < usual:
            recipe["epochs"] = fitting
            lines.append(
                f"{name}: {fitting} epochs, since {n_clips:,} clips train; the {usual} of the "
                f"profile are for {USUAL_CLIPS}"
            )
    return lines
