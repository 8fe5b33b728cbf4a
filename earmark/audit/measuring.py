"""What the audit measures of the decoded clips, apart from folds, ensemble and label corrections.

This takes most of the audit's time, and no experiment changes it, so it is a stage of its own.
"""

import hashlib

from earmark.audit.duplicates import find_duplicates
from earmark.audit.measurements import Measurements
from earmark.audit.sound import measure_clips
from earmark.corpora.stored_tables import read_clips
from earmark.layout import Layout
from earmark.params import Params
from earmark.records import read_json
from earmark.store import Store


def measure_corpus(params: Params, layout: Layout) -> Measurements:
    """Find the duplicates among the decoded clips, and measure their sound.

    Raises:
        UserError: the corpus is not decoded yet.
    """
    store = Store.open(layout.decoded)
    labels, workers = _labels(store, layout), params.runtime.workers
    search = find_duplicates(store, labels, seed=params.seed, workers=workers)
    sound = measure_clips(store, workers=workers)
    return Measurements(search, sound, _digest(store, labels, params.seed))


def are_current(params: Params, layout: Layout) -> bool:
    """Whether data/audit_sound/ exists and was measured on the decoded clips that are here."""
    path = layout.audit_sound / "measurements.json"
    if not path.exists():
        return False
    if not layout.decoded.exists():
        return True
    store = Store.open(layout.decoded)
    return bool(read_json(path)["inputs"] == _digest(store, _labels(store, layout), params.seed))


def _labels(store: Store, layout: Layout) -> list[str]:
    """The labels of the decoded clips as the corpus gives them, in the order of the store."""
    clips = read_clips(layout)
    by_clip = clips[~clips["quarantined"]].set_index("clip")["label"]
    return list(by_clip.reindex(store.index["clip"]).fillna(""))


def _digest(store: Store, labels: list[str], seed: int) -> str:
    text = "\n".join([store.digest, str(seed), *labels])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
