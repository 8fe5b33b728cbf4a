"""The ensemble as MLflow's `pyfunc` calls it: a table of paths in, one of probabilities out.

MLflow copies what stages wrote to a folder of the same layout, and gives that folder to
`_load_pyfunc`.
"""

from pathlib import Path

import pandas as pd

from earmark.inference.recording_tagger import RecordingTagger
from earmark.inference.workspace import load_ensemble
from earmark.layout import Layout
from earmark.params.reading import load_params


class TableTagger:
    """Tags the recordings of a table."""

    def __init__(self, tagger: RecordingTagger) -> None:
        self._tagger = tagger

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """Tag recordings as `python -m earmark predict` does.

        Args:
            table: has a column `path` with the recordings' files.

        Returns:
            a row for each recording with the calibrated probability of each tag.

        Raises:
            UnusableAudio: a file cannot be used.
        """
        rows = []
        for path in table["path"]:
            prediction = self._tagger.tag(Path(path))
            rows.append(dict(zip(prediction.tags, prediction.probabilities, strict=True)))
        return pd.DataFrame(rows, columns=self._tagger.tags)


def _load_pyfunc(folder: str) -> TableTagger:
    """What MLflow calls, by this name."""
    layout = Layout(Path(folder))
    return TableTagger(load_ensemble(load_params(layout.params).runtime, layout))
