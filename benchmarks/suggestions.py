"""What `suggest` gains over chance: `python -m benchmarks.suggestions --root DIR --weights FILE`.

Takes a corpus of profile `folder` with official folds and published weights. In each fold a few
labelled clips are drawn from the training clips, and a logistic regression learns from what the
network makes of them. Then as many again are labelled: those that `earmark.labelling.ranking.badge`
chooses, those of the highest entropy, and others drawn at random. Prints the accuracy on all clips,
each predicted in the fold that held it out: mean and standard deviation over the draws of the first
clips, and of the paired differences from those drawn at random.
"""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from earmark.corpora.adapters import find
from earmark.exits import clean_exit
from earmark.inference.embedders import mean_embedding, of_weights
from earmark.labelling.ranking import badge, uncertainty
from earmark.labels import label_indices, tags_of
from earmark.processes import progress, set_up_process
from earmark.seeding import rng_for
from earmark.sound.recordings import path_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def embedded(clips: pd.DataFrame, root: Path, weights: Path) -> Floats:
    """What the network makes of each clip, (B, D)."""
    embedder = of_weights(weights, Path(gettempdir()))
    paths = [path_of(root, path) for path in clips["path"]]
    every = progress(paths, total=len(paths), description="embed")
    return np.array([mean_embedding(embedder, path) for path in every])


def fitted(x: Floats, y: Ints, asked: Floats) -> tuple[Floats, Floats]:
    """Probabilities of clips (B, K), and what the last layer reads of them (B, D)."""
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=1.0, max_iter=1000).fit(scaler.transform(x), y)
    inside = scaler.transform(asked)
    probabilities = np.zeros((len(asked), int(y.max()) + 1))
    probabilities[:, model.classes_] = model.predict_proba(inside)
    return probabilities, inside


def one_draw(
    x: Floats, y: Ints, folds: Ints, *, start: int, count: int, seed: int
) -> dict[str, float]:
    """The accuracy on all clips, by what was labelled."""
    right: dict[str, list[bool]] = {}
    for fold in np.unique(folds).tolist():
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        rng = rng_for(seed, "start", fold)
        first = rng.choice(train, start, replace=False)
        pool = np.setdiff1d(train, first)
        p, inside = fitted(x[first], y[first], x[pool])
        entropy = uncertainty(p, is_multi_label=False)
        chosen: dict[str, Sequence[int] | Ints] = {
            "first": [],
            "suggested": badge(p, inside, count, rng_for(seed, "suggest", fold)),
            "entropy": np.argsort(-entropy, kind="stable")[:count],
            "random": rng.choice(len(pool), count, replace=False),
        }
        for name, indices in chosen.items():
            labelled = np.concatenate([first, pool[np.array(indices, np.int64)]])
            answers, _ = fitted(x[labelled], y[labelled], x[test])
            right.setdefault(name, []).extend((answers.argmax(axis=1) == y[test]).tolist())
    return {name: float(np.mean(values)) for name, values in right.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--table", default="clips.csv")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--start", type=int, default=40)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--draws", type=int, default=20)
    options = parser.parse_args()
    set_up_process(threads=1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    clips = find("folder").read_clips(options.root, options.table)
    y = label_indices(clips["label"].tolist(), tags_of(clips["label"]))
    x = embedded(clips, options.root, options.weights)
    folds = clips["fold"].to_numpy(np.int64)
    draws = pd.DataFrame(
        one_draw(x, y, folds, start=options.start, count=options.count, seed=seed)
        for seed in range(options.draws)
    )
    print(f"{len(clips)} clips, {options.start} + {options.count} labelled, {len(draws)} draws")
    for name in draws:
        line = f"{name:10} {draws[name].mean():.4f} (sd {draws[name].std():.4f})"
        if name not in ("first", "random"):
            gain = draws[name] - draws["random"]
            line += f"; minus random {gain.mean():+.4f} (sd {gain.std():.4f})"
            line += f", better in {(gain > 0).sum()}, worse in {(gain < 0).sum()}"
        print(line)


if __name__ == "__main__":
    with clean_exit("suggestions"):
        main()
