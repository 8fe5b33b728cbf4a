"""Tag recordings without labels by the ensemble, for the student to learn its answers.

Reads: unlabelled (a folder of recordings), data/trimmed/ (its clips are left out), data/ensemble/,
    data/plan.json, models/ (behind data/predictions/)
Writes: data/unlabelled/
Params: unlabelled, features.<feature>, runtime
"""

from earmark.corpora.unlabelled import unlabelled_recordings
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params import Params
from earmark.store import read_table
from stages import stage


def run(params: Params, layout: Layout, feature: str, *, code: str = "") -> str:
    from earmark.features import build
    from earmark.inference.unlabelled import work_key, write_unlabelled
    from earmark.inference.workspace import load_ensemble
    from earmark.training.checkpoints import work_in_progress

    declared, folder = params.features[feature], layout.root / params.unlabelled
    tagger = load_ensemble(params.runtime, layout)
    extractor = build(declared.type, declared.options, sample_rate=tagger.sample_rate)
    clips = read_table(layout.trimmed / "index.parquet", "clip", "sha256")
    paths = unlabelled_recordings(folder)
    key = work_key(folder, paths, tagger, declared.model_dump(), code=code)
    with work_in_progress(layout.home, key) as checkpoint:
        summary = write_unlabelled(
            layout.unlabelled,
            folder,
            paths,
            tagger,
            extractor,
            known=dict(zip(clips["sha256"], clips["clip"], strict=True)),
            work=checkpoint.parent,
        )
        if paths and not summary.n_kept:
            raise UserError(f"{params.unlabelled}: nothing is left to learn: {summary}")
    return str(summary)


if __name__ == "__main__":
    with stage("unlabelled", "feature") as s:
        s.log.info("unlabelled: %s", run(s.params, s.layout, **s.arguments, code=s.code))
