"""Whether planted label noise comes back: `python -m benchmarks.label_noise --root WORKSPACE`.

Reads the log-mels and the labels, taken as right, of a workspace whose features are built. Changes
a share of the labels, trains small taggers on the others' folds with the changed labels, as the
pipeline does, and prints what the audit estimates beside what was planted.
"""

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from earmark.audit.label_noise import Share, estimate_label_noise, skill_of
from earmark.audit.label_posterior import Floats, Ints
from earmark.ensemble.combining import combine
from earmark.exits import clean_exit
from earmark.labels import label_indices, tags_of
from earmark.layout import Layout
from earmark.records import read_table
from earmark.seeding import rng_for
from earmark.store import Store


def clip_features(layout: Layout) -> tuple[pd.DataFrame, Floats]:
    """The training clips and, of each, statistics of its log-mel over time, (B, 5 N)."""
    store = Store.open(layout.features("logmel"))
    whole = store.index[store.index["variant"] == ""].reset_index()
    clips = read_table(layout.clips)
    rows = clips[clips["split"] == "train"].merge(whole[["clip", "index"]], on="clip")
    return rows, np.array([_statistics(store.rows(i)) for i in rows["index"]])


def _statistics(log_mel: Floats) -> Floats:
    frames = log_mel.astype(np.float64)  # (N, M)
    steps = np.diff(frames, axis=0).std(axis=0)
    low, high = np.quantile(frames, [0.1, 0.9], axis=0)
    return np.concatenate([frames.mean(axis=0), frames.std(axis=0), steps, low, high])


def taggers(seed: int) -> dict[str, ClassifierMixin]:
    def after_pca(n: int, classifier: ClassifierMixin) -> ClassifierMixin:
        return make_pipeline(StandardScaler(), PCA(n, random_state=seed), classifier)

    return {
        "logistic": after_pca(40, LogisticRegression(C=0.05)),
        "trees": ExtraTreesClassifier(150, min_samples_leaf=2, random_state=seed),
        "mlp": after_pca(60, MLPClassifier(64, alpha=1, max_iter=40, random_state=seed)),
        "weak": after_pca(6, LogisticRegression()),
    }


def out_of_fold(
    features: Floats, given: Ints, sources: pd.Series, seed: int
) -> Iterator[tuple[str, Floats]]:
    """The probabilities (B, K) of each tagger, then of an ensemble of the first three."""
    names = sources.where(sources != "", pd.Series(range(len(sources))).astype(str))
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    folds = list(splitter.split(features, given, names))
    by_name = {}
    for name, tagger in taggers(seed).items():
        by_name[name] = np.zeros((len(given), given.max() + 1))
        for train, validation in folds:
            tagger.fit(features[train], given[train])
            by_name[name][validation] = tagger.predict_proba(features[validation])
        yield name, by_name[name]
    members = {name: by_name[name] for name in ("logistic", "trees", "mlp")}
    yield "ensemble", combine(members, dict.fromkeys(members, 1.0), is_multi_label=False)


def _shown(share: Share | None) -> str:
    return (
        "-" if share is None else f"{share['value']:.0%} [{share['low']:.0%}, {share['high']:.0%}]"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shares", type=float, nargs="+", default=[0, 0.05, 0.3])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # too few iterations for the MLP, on purpose
    rows, features = clip_features(Layout(arguments.root))
    tags = tags_of(rows["label"])
    truth = label_indices(list(rows["label"]), tags)
    print("planted  tagger     right  estimated        listed  of these wrong: estimated, truly")
    for share in arguments.shares:
        for seed in range(arguments.seeds):
            rng = rng_for(seed, "planted")
            is_wrong = rng.permutation(len(truth)) < round(share * len(truth))
            given = np.where(
                is_wrong, (truth + rng.integers(1, len(tags), len(truth))) % len(tags), truth
            )
            for name, p in out_of_fold(features, given, rows["source"], seed):
                right = (p.argmax(axis=1) == truth).mean()
                print(f"{share:7.0%}  {name:9}  {right:5.0%}  ", end="")
                if not skill_of(p, given, rows["source"]).is_clear:
                    print("silent")
                    continue
                noise = estimate_label_noise(
                    *(rows, p, given, tags), decided=pd.Series(dtype="str"), seed=seed
                )
                listed = noise.p_wrong > 0.5
                true = f"{is_wrong[listed].mean():.0%}" if listed.any() else "-"
                estimate = _shown(noise.estimated_noise["all"])
                print(f"{estimate:15}  {listed.sum():6}  {_shown(noise.precision)}, {true}")


if __name__ == "__main__":
    with clean_exit():
        main()
