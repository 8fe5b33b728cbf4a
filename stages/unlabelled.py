"""Tag sounds without labels by the ensemble, for the student to learn its answers.

They are recordings of a folder, and clips that are made of the training clips.

Reads: unlabelled (a folder of recordings), data/trimmed/ (its clips are left out), data/decoded/,
    data/folds.parquet, data/ensemble/, data/plan.json, models/ (behind data/predictions/)
Writes: data/unlabelled/
Params: unlabelled, features.<feature>, student.<feature>.made_clips, seed, runtime
"""

from earmark.corpora.stored_tables import read_folds
from earmark.corpora.unlabelled import unlabelled_recordings
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params import Params
from earmark.sound.trimmed_clips import TrimmedClips
from stages import stage


def run(params: Params, layout: Layout, feature: str, *, code: str = "") -> str:
    from earmark.features import build
    from earmark.inference.unlabelled import made, recorded, work_key, write_unlabelled
    from earmark.inference.workspace import load_ensemble
    from earmark.sound.made_clips import plan_made_clips
    from earmark.training.checkpoints import work_in_progress

    declared, folder = params.features[feature], layout.root / params.unlabelled
    tagger = load_ensemble(params.runtime, layout)
    extractor = build(declared.type, declared.options, sample_rate=tagger.sample_rate)
    trimmed, folds = TrimmedClips.open(layout.trimmed, layout.decoded), read_folds(layout)
    clips = [str(clip) for clip in folds.loc[folds["split"] == "train", "clip"]]
    copies = params.student[feature].made_clips
    plan = plan_made_clips(clips, copies=copies, seed=params.seed)
    paths = unlabelled_recordings(folder)
    known = {"feature": declared.model_dump(), "made": plan, "clips": trimmed.digest, "code": code}
    with work_in_progress(layout.home, work_key(folder, paths, tagger, known)) as checkpoint:
        summary = write_unlabelled(
            layout.unlabelled,
            [*recorded(folder, paths), *made(plan, trimmed, tagger.scratch_folder)],
            tagger,
            extractor,
            known=dict(zip(trimmed.index["sha256"], trimmed.index["clip"], strict=True)),
            work=checkpoint.parent,
        )
        if paths and not summary.n_kept:
            raise UserError(f"{params.unlabelled}: nothing is left to learn: {summary}")
    return str(summary)


if __name__ == "__main__":
    with stage("unlabelled", "feature") as s:
        s.log.info("unlabelled: %s", run(s.params, s.layout, **s.arguments, code=s.code))
