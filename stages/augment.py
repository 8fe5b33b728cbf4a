"""Make SoX variants of the training clips, one for each effect, with their drawn values recorded.

Reads: data/trimmed/
Writes: data/augmented/<effect>/
Params: augment, seed
"""

from earmark.layout import Layout
from earmark.params import Params
from earmark.sound.variants import write_variants
from earmark.store import Store, read_json
from stages import stage


def run(params: Params, layout: Layout) -> list[str]:
    code = read_json(layout.code)["augment"] if layout.code.exists() else {}
    return write_variants(
        layout.augmented,
        Store.open(layout.trimmed),
        params.augment,
        seed=params.seed,
        code=code,
        workers=params.runtime.workers,
    )


if __name__ == "__main__":
    with stage("augment") as s:
        made = run(s.params, s.layout)
        n_kept = len(s.params.augment) - len(made)
        s.log.info("augment: made %s; %d effects unchanged", ", ".join(made) or "nothing", n_kept)
