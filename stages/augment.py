"""Make every feature of SoX variants of the training clips, one for each effect.

Reads: data/decoded/, data/trimmed/
Writes: data/augmented/<feature>/<effect>/
Params: augment, features, seed
"""

from earmark.layout import Layout
from earmark.params import Params
from earmark.records import read_json
from earmark.sound.trimmed_clips import TrimmedClips
from stages import stage


def run(params: Params, layout: Layout) -> list[str]:
    from earmark.features.variants import write_variants

    code = read_json(layout.code).get("augment", {}) if layout.code.exists() else {}
    return write_variants(
        layout.all_augmented,
        TrimmedClips.open(layout.trimmed, layout.decoded),
        params.augment,
        params.features,
        seed=params.seed,
        code=code,
        workers=params.runtime.workers,
    )


if __name__ == "__main__":
    with stage("augment") as s:
        made = run(s.params, s.layout)
        n_kept = len(s.params.augment) - len(made)
        s.log.info("augment: made %s; %d effects unchanged", ", ".join(made) or "nothing", n_kept)
