"""Tag recordings without labels by the ensemble, for the student to learn its answers.

Reads: unlabelled (a folder of recordings), data/trimmed/ (its clips are left out), data/ensemble/,
    data/plan.json, models/ (behind data/predictions/)
Writes: data/unlabelled/
Params: unlabelled, features.<feature>, runtime
"""

from earmark.layout import Layout
from earmark.params import Params
from earmark.params.roster import student_of
from earmark.store import Store
from stages import stage


def run(params: Params, layout: Layout, *, code: str = "") -> str:
    from earmark.features import build
    from earmark.inference.unlabelled import unlabelled_recordings, work_key, write_unlabelled
    from earmark.inference.workspace import load_ensemble
    from earmark.training.checkpoints import work_in_progress

    student = student_of(params)
    assert student is not None, "dvc.yaml has this stage where there is one"
    declared, folder = params.features[student[0]], layout.root / params.unlabelled
    tagger = load_ensemble(params.runtime, layout)
    feature = build(declared.type, declared.options, sample_rate=tagger.sample_rate)
    clips = Store.open(layout.trimmed).index
    paths = unlabelled_recordings(folder)
    key = work_key(folder, paths, tagger, declared.model_dump(), code=code)
    with work_in_progress(layout.home, key) as checkpoint:
        summary = write_unlabelled(
            layout.unlabelled,
            folder,
            paths,
            tagger,
            feature,
            known=dict(zip(clips["sha256"], clips["clip"], strict=True)),
            work=checkpoint.parent,
        )
    return str(summary)


if __name__ == "__main__":
    with stage("unlabelled") as s:
        s.log.info("unlabelled: %s", run(s.params, s.layout, code=s.code))
