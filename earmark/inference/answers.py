"""What is answered for a recording: its tags with calibrated probabilities, or a timeline of them.

Shapes: S segments, K tags.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.ensemble.rules import Estimator

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Prediction:
    """What a tagger predicts for a recording or a segment: its tags, likeliest first.

    The probabilities are tempered: of statements with probability 0.8, about four in five should
    be right for recordings like the corpus'. How far that holds is measured; see
    `RecordingTagger.calibration` and the reliability tables of the report. `answer` is what to act
    on: the most probable tag, or where clips may have several every tag above its threshold; None
    is "unknown".
    """

    clip: str
    tags: list[str]
    probabilities: list[float]
    answer: list[str] | None
    n_crops: int  # that all networks together needed until they were confident
    seconds: float = 0.0  # of the recording

    @classmethod
    def of(
        cls,
        combined: Floats,
        tags: list[str],
        estimator: Estimator,
        *,
        clip: str,
        n_crops: int,
        seconds: float = 0.0,
    ) -> "Prediction":
        """Temper the probabilities `(K,)` that the networks together give, and answer."""
        tempered = estimator.temper(combined[np.newaxis])[0]
        order = np.argsort(-combined, kind="stable").tolist()  # as scored: tempering may tie two
        names, probabilities = [tags[i] for i in order], tempered[order].tolist()
        answer = estimator.answer(dict(zip(names, probabilities, strict=True)))
        return cls(clip, names, probabilities, answer, n_crops, seconds)

    def to_json(self, top: int) -> dict[str, Any]:
        """The answer, and the most probable tags with their probabilities."""
        likeliest = zip(self.tags[:top], self.probabilities, strict=False)
        return {
            "clip": self.clip,
            "answer": "unknown" if self.answer is None else self.answer,
            "tags": {tag: round(probability, 6) for tag, probability in likeliest},
            "crops": self.n_crops,
        }

    def line(self, top: int) -> str:
        """One line: what is answered, then the others of the most probable tags."""
        shown = {
            tag: f"{tag} {probability:.2f}"
            for tag, probability in zip(self.tags, self.probabilities, strict=True)
        }
        answered = self.answer or []
        head = "  ".join(shown[tag] for tag in answered) or "none"
        rest = "  ".join(shown[tag] for tag in self.tags[:top] if tag not in answered)
        head = "unknown" if self.answer is None else head
        return f"{self.clip}: {head}" + (f"  | {rest}" if rest else "")


@dataclass(frozen=True, eq=False)
class Timeline:
    """What a tagger predicts for the segments of a recording, in the order of time.

    Attributes:
        clip: its name.
        seconds: of the recording.
        starts, ends: of the segments, in seconds, `(S,)`.
        tags: K names.
        probabilities: calibrated, `(S, K)`; NaN where a segment has no sound.
        estimator: what answers of them.
    """

    clip: str
    seconds: float
    starts: Floats
    ends: Floats
    tags: list[str]
    probabilities: Floats
    estimator: Estimator

    def __len__(self) -> int:
        return len(self.starts)

    def predictions(self) -> list[Prediction | None]:
        """One for each segment; None for one without sound."""
        return [self._prediction(row) for row in range(len(self))]

    def _prediction(self, row: int) -> Prediction | None:
        if np.isnan(self.probabilities[row, 0]):
            return None
        order = np.argsort(-self.probabilities[row], kind="stable").tolist()
        names, values = [self.tags[i] for i in order], self.probabilities[row, order].tolist()
        answer = self.estimator.answer(dict(zip(names, values, strict=True)))
        seconds = float(self.ends[row] - self.starts[row])
        return Prediction(self.clip, names, values, answer, 0, seconds)

    def to_frame(self) -> pd.DataFrame:
        """One row a segment: start_seconds, end_seconds, answer, and the probability of each tag.

        The answer of a segment without sound is "silence", several tags are joined by commas.
        """
        answers = [_text(prediction) for prediction in self.predictions()]
        head = {"start_seconds": self.starts, "end_seconds": self.ends, "answer": answers}
        columns = pd.DataFrame(self.probabilities, columns=self.tags)
        return pd.concat([pd.DataFrame(head), columns], axis=1)


def _text(prediction: Prediction | None) -> str:
    if prediction is None:
        return "silence"
    return "unknown" if prediction.answer is None else ",".join(prediction.answer)
