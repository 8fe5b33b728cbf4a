"""What a clip takes of the student and of the ensemble: `python -m benchmarks.student FOLDER`.

In a workspace with both. Prints milliseconds of one thread's processor time a recording, decoding
included and the start of the program excluded; both tag the whole folder alternately in this
process, and the ratio is the median over passes, with the least and most.
"""

import argparse
import statistics
import time
from pathlib import Path

from earmark.errors import UserError
from earmark.exits import clean_exit
from earmark.inference.recording_tagger import RecordingTagger
from earmark.inference.recordings import recordings
from earmark.inference.workspace import load_ensemble, load_student
from earmark.layout import Layout
from earmark.params.reading import load_params
from earmark.processes import set_up_process

N_PASSES = 5


def milliseconds(tagger: RecordingTagger, paths: list[Path]) -> float:
    """Of processor time for each recording, as `predict` tags them."""
    start = time.process_time()
    for _ in tagger.tag_each(paths):
        pass
    return 1000 * (time.process_time() - start) / len(paths)


def main(folder: Path) -> None:
    layout = Layout.here()
    set_up_process(threads=1)
    runtime = load_params(layout.params).runtime.model_copy(update={"threads": 1, "device": "cpu"})
    student, ensemble = load_student(runtime, layout), load_ensemble(runtime, layout)
    paths, _ = recordings([folder])
    if not paths:
        raise UserError(f"{folder}: no recording in it")
    for tagger in (student, ensemble):
        milliseconds(tagger, paths[:32])  # which reads the networks
    taken = [(milliseconds(student, paths), milliseconds(ensemble, paths)) for _ in range(N_PASSES)]
    of_student, of_ensemble = (statistics.median(times) for times in zip(*taken, strict=True))
    ratios = [theirs / ours for ours, theirs in taken]
    print(
        f"{len(paths)} recordings: student {of_student:.2f} ms, ensemble {of_ensemble:.1f} ms each"
    )
    print(f"the ensemble takes {statistics.median(ratios):.1f} x "
          f"({min(ratios):.1f} to {max(ratios):.1f})")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    with clean_exit("student"):
        main(given.folder)
