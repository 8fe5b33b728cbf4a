"""Tag recordings with trained networks, by the rules that scored them.

Shapes: T samples, C channels, S segments, D dims of an embedding, K tags.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.ensemble.rules import Rules, Windows
from earmark.ensemble.segments import (
    Floats,
    Networks,
    ask_all,
    in_chunks,
    segments_of,
    tag_segments,
    with_sound,
)
from earmark.ensemble.tagging import tag_clip, tag_together
from earmark.errors import UserError, WrongUse
from earmark.inference.answers import Prediction, Timeline
from earmark.inference.given_samples import checked_rate, write_samples
from earmark.inference.segment_embeddings import CHUNK_SECONDS, embed_segments
from earmark.params import Runtime
from earmark.params.roster import STUDENT
from earmark.sound.decoding import decode
from earmark.sound.recordings import name_of
from earmark.sound.samples import Int16
from earmark.sound.trimming import trim
from earmark.sound.unusable import UnusableAudio
from earmark.spool import Scratch
from earmark.taggers.device import Device
from earmark.taggers.input import crops_of
from earmark.taggers.rows import WaveformFeatures, rows_read
from earmark.taggers.tagger import Tagger

# Recordings that a student reads together, and how long they may be, as all are in memory.
_TOGETHER, _SECONDS_TOGETHER = 16, 120.0
SHORTEST, LONGEST = 0.01, 3600.0  # seconds of a segment, and from one to the next
Recording = Path | str | NDArray[Any]  # a file, or samples (T,) or (T, C)


class Embeddings(NamedTuple):
    """What the head of one network reads of each segment: `(S, D)`, and when that is."""

    values: NDArray[np.float32]
    starts: NDArray[np.float64]  # in seconds
    ends: NDArray[np.float64]


class Heard(NamedTuple):
    """A recording that is decoded and trimmed."""

    waveform: Int16  # (T,)
    sha256: str  # of the waveform; "" where nothing draws by it
    name: str
    seconds: float  # before it was trimmed


class EmbeddingNetwork(NamedTuple):
    """A network whose features are vectors, and the extractor that it reads embeddings of."""

    member: str
    fold: str
    tagger: Tagger
    extractor: Tagger | None


@dataclass(frozen=True)
class RecordingTagger:
    """An ensemble, or one network, ready to tag; networks are read when first used.

    Attributes:
        rules: of the answers.
        folder_of: the folder of a member's, or an extractor's, network of a fold.
        runtime: where and how precisely networks compute.
        scratch_folder: for recordings that are too long for memory.
        digest: of the rules and all networks.
        published: where weights lie that features read, by the path that models name them by.

    >>> tagger = earmark.load("tagger/")  # doctest: +SKIP
    >>> tagger.tag("dog.wav").answer  # doctest: +SKIP
    ['dog']
    >>> tagger.timeline("street.flac").to_frame()  # doctest: +SKIP
    """

    rules: Rules
    folder_of: Callable[[str, str], Path]
    runtime: Runtime
    scratch_folder: Path
    digest: str
    published: Mapping[str, Path] = field(default_factory=dict)

    @property
    def tags(self) -> list[str]:
        return self.rules.tags

    @property
    def sample_rate(self) -> int:
        """That recordings are brought to, in Hz; they may have any other."""
        return self.rules.sample_rate

    def calibration(self, windows: Windows | None = None) -> str:
        """One line: what was measured of probabilities such as these, and on which clips.

        Args:
            windows: of a timeline; None for recordings as a whole.
        """
        if windows is None:
            return self.rules.clip.calibration
        fitted, segment = self.rules.windows, self.rules.segment
        if fitted is None or segment is None:
            return "not measured"
        if windows.window_seconds != fitted.window_seconds:
            of_others = f"segments of {fitted.window_seconds:g} s were"
            return f"not measured of segments of {windows.window_seconds:g} s; {of_others}"
        return segment.calibration

    @cached_property
    def device(self) -> Device:
        return Device.choose(self.runtime)

    @cached_property
    def networks(self) -> Networks:
        """Member -> fold -> network, and the extractor that it reads embeddings of."""
        return {
            member: {fold: self._load(member, fold) for fold in folds}
            for member, folds in self.rules.members.items()
        }

    def _load(self, member: str, fold: str) -> tuple[Tagger, Tagger | None]:
        tagger = self._relocated(Tagger.load(self.folder_of(member, fold), self.device))
        extractor = tagger.metadata.get("extractor")
        if extractor is None:
            return (tagger.folded(self.device) if member == STUDENT else tagger), None
        return tagger, Tagger.load(self.folder_of(extractor, fold), self.device)

    def _relocated(self, tagger: Tagger) -> Tagger:
        """The same, reading published weights where they lie here."""
        options = tagger.input.options
        if options.get("weights") not in self.published:
            return tagger
        options = options | {"weights": str(self.published[options["weights"]])}
        return replace(tagger, input=replace(tagger.input, options=options))

    def part(self, members: Sequence[str] = (), folds: Sequence[str] = ()) -> "RecordingTagger":
        """Some members and folds of it, see `Rules.part`; of a digest that says nothing."""
        return replace(self, rules=self.rules.part(members, folds), digest="")

    def tag(self, recording: Recording, sample_rate: int | None = None) -> Prediction:
        """Decode, trim and tag a recording as a whole.

        Args:
            recording: a file, or samples `(T,)` or `(T, C)`: int16, or floats of full scale 1.
            sample_rate: of samples, in Hz.

        Raises:
            UnusableAudio: the recording cannot be used.
            UserError: samples without a rate, or of another type or shape.
        """
        heard = self.hear(recording, sample_rate)
        return self._prediction(heard, *self.ask(heard))

    def tag_each(self, recordings: Iterable[Recording]) -> Iterator[Prediction | UnusableAudio]:
        """Tag recordings in order, as `tag` does; for one that cannot be used, yield the error.

        A student reads some short ones together, in two thirds of the time; that changes its
        probabilities by rounding alone.
        """
        is_together = self.rules.name == STUDENT and set(self.rules.aggregation.values()) == {
            "mean"
        }
        waiting: list[Heard | UnusableAudio] = []
        for recording in recordings:
            try:
                waiting.append(self.hear(recording))
            except UnusableAudio as error:
                waiting.append(error)
            seconds = sum(one.seconds for one in waiting if isinstance(one, Heard))
            if not is_together or len(waiting) == _TOGETHER or seconds > _SECONDS_TOGETHER:
                yield from self._answers(waiting)
                waiting = []
        yield from self._answers(waiting)

    def _answers(
        self, waiting: Sequence["Heard | UnusableAudio"]
    ) -> Iterator[Prediction | UnusableAudio]:
        heard = [one for one in waiting if isinstance(one, Heard)]
        asked = iter([self.ask(one) for one in heard] if len(heard) < 2 else self._ask_each(heard))
        for one in waiting:
            yield self._prediction(one, *next(asked)) if isinstance(one, Heard) else one

    def _ask_each(self, heard: Sequence["Heard"]) -> Iterator[tuple[Floats, int]]:
        """As `ask`, of several recordings; every network gives the mean over all crops."""
        scratch = Scratch(self.scratch_folder)
        features = [WaveformFeatures(one.waveform, scratch=scratch) for one in heard]
        n_crops = np.zeros(len(heard), dtype=np.int64)

        def ask(_: str, __: str, tagger: Tagger, extractor: Tagger | None) -> Floats:
            rows = [rows_read(one, tagger, extractor, self.device) for one in features]
            probabilities, n_used = tag_together(tagger, rows, self.device)
            n_crops[:] += n_used
            return probabilities

        return zip(ask_all(self.networks, self.rules, ask), n_crops.tolist(), strict=True)

    def _prediction(self, heard: "Heard", combined: Floats, n_crops: int) -> Prediction:
        return Prediction.of(
            combined,
            self.tags,
            self.rules.clip,
            clip=heard.name,
            n_crops=n_crops,
            seconds=heard.seconds,
        )

    def hear(
        self, recording: Recording, sample_rate: int | None = None, *, with_digest: bool = False
    ) -> "Heard":
        """Decode and trim a recording; arguments and errors are those of `tag`.

        Args:
            with_digest: whether its sha256 is wanted, even if no network draws crops by it.
        """
        decoded, name = self._decoded(recording, sample_rate)
        draws = any(crops_of(one)[0] == "random" for one in self.rules.aggregation.values())
        trimmed = trim(
            decoded,
            sample_rate=self.sample_rate,
            scratch=Scratch(self.scratch_folder),
            with_digest=with_digest or draws,
            **self.rules.preparation["trim"],
        )
        seconds = len(decoded) / self.sample_rate
        return Heard(np.asarray(trimmed.waveform), trimmed.sha256, name, seconds)

    def ask(self, heard: "Heard") -> tuple[Floats, int]:
        """What the networks together give `(K,)`, not tempered yet, and by how many crops."""
        features = WaveformFeatures(heard.waveform, scratch=Scratch(self.scratch_folder))
        n_crops = 0

        def ask(member: str, fold: str, tagger: Tagger, extractor: Tagger | None) -> Floats:
            nonlocal n_crops
            probabilities, n_used = tag_clip(
                tagger,
                rows_read(features, tagger, extractor, self.device),
                aggregation=self.rules.aggregation[member],
                preparation=self.rules.preparation,
                member=member,
                fold=fold,
                sha256=heard.sha256,
                device=self.device,
            )
            n_crops += n_used
            return probabilities[np.newaxis]

        return ask_all(self.networks, self.rules, ask)[0], n_crops

    def timeline(
        self,
        recording: Recording,
        sample_rate: int | None = None,
        *,
        window_seconds: float | None = None,
        hop_seconds: float | None = None,
    ) -> Timeline:
        """Tag the segments of a recording, each as a clip of its own.

        Args:
            recording, sample_rate: as for `tag`.
            window_seconds, hop_seconds: of the segments; by default those that the estimator of
                segments was fitted on. With another window its probabilities are not calibrated.

        Raises:
            UnusableAudio: the recording cannot be used.
            UserError: no estimator of segments was fitted, or a window or hop is out of range.
        """
        windows = self.windows(window_seconds, hop_seconds)
        assert self.rules.segment is not None, "windows() has seen to it"
        waveform, name = self._decoded(recording, sample_rate)
        segments = segments_of(len(waveform), windows, sample_rate=self.sample_rate)
        loud = with_sound(waveform, segments, top_db=self.rules.preparation["trim"]["top_db"])
        heard = [segment for segment, is_loud in zip(segments, loud, strict=True) if is_loud]
        probabilities = np.full((len(segments), len(self.tags)), np.nan)
        found = tag_segments(self.networks, waveform, heard, self.rules, self.device)
        combined = np.concatenate([np.empty((0, len(self.tags))), *found])
        probabilities[loud] = self.rules.segment.temper(combined) if len(combined) else combined
        starts, ends = np.array(segments, dtype=np.float64).T / self.sample_rate
        return Timeline(
            clip=name,
            seconds=len(waveform) / self.sample_rate,
            starts=starts,
            ends=ends,
            tags=self.tags,
            probabilities=probabilities,
            estimator=self.rules.segment,
        )

    def windows(
        self, window_seconds: float | None = None, hop_seconds: float | None = None
    ) -> Windows:
        """The segments of a timeline: as fitted, but for what is given; raises as `timeline`."""
        fitted = self.rules.windows
        if fitted is None or self.rules.segment is None:
            fix = "run `dvc repro` with a section `timeline` in params.yaml"
            raise UserError(f"no estimator of segments was fitted; {fix}")
        window = fitted.window_seconds if window_seconds is None else window_seconds
        hop = fitted.hop_seconds if hop_seconds is None else hop_seconds
        for key, value in (("window", window), ("hop", hop)):
            if not SHORTEST <= value <= LONGEST:
                limits = f"give {SHORTEST} to {LONGEST:g}"
                raise WrongUse(f"the {key} of a timeline is {value} s; {limits}")
        return Windows(window_seconds=window, hop_seconds=hop)

    def embed(
        self,
        recording: Recording,
        sample_rate: int | None = None,
        *,
        member: str = "",
        window_seconds: float | None = None,
        hop_seconds: float | None = None,
    ) -> Embeddings:
        """What the head of one network reads of each segment of a recording.

        Args:
            recording, sample_rate, window_seconds, hop_seconds: as for `timeline`.
            member: whose first fold's network it is; by default the one of the largest weight
                whose features are vectors.

        Raises:
            UnusableAudio: the recording cannot be used.
            UserError: there is no such member, or its features are no vectors.
        """
        _, _, tagger, extractor = self.embedding_network(member)
        windows = self.windows(window_seconds, hop_seconds)
        waveform, _ = self._decoded(recording, sample_rate)
        segments = segments_of(len(waveform), windows, sample_rate=self.sample_rate)
        preparation = self.rules.preparation
        vectors = np.concatenate(
            [
                embed_segments(tagger, extractor, waveform, some, preparation, self.device)
                for some in in_chunks(segments, sample_rate=self.sample_rate, seconds=CHUNK_SECONDS)
            ]
        )
        starts, ends = np.array(segments, dtype=np.float64).T / self.sample_rate
        return Embeddings(vectors, starts, ends)

    def embedding_network(self, member: str = "") -> EmbeddingNetwork:
        """The network that `embed` asks; raises as it does."""
        networks = {name: next(iter(folds.items())) for name, folds in self.networks.items()}
        fit = [n for n, (_, (one, _)) in networks.items() if one.network.feature_dim is not None]
        if not fit or (member and member not in fit):
            has = f"there are {', '.join(fit)}" if fit else "there is none"
            what = f"{member} gives no embeddings" if member else "no member gives embeddings"
            raise UserError(f"{what}; of members whose features are vectors {has}")
        chosen = member or max(fit, key=lambda name: self.rules.weights[name])
        fold, (tagger, extractor) = networks[chosen]
        return EmbeddingNetwork(chosen, fold, tagger, extractor)

    def _decoded(self, recording: Recording, sample_rate: int | None) -> tuple[Int16, str]:
        """The samples at the tagger's own rate, and the name of the recording."""
        if isinstance(recording, np.ndarray):
            rate = checked_rate(sample_rate)
            # Through a file, so that samples take the way of recordings, to the bit.
            with TemporaryDirectory(dir=self.scratch_folder) as folder:
                path = Path(folder) / "samples.wav"
                write_samples(path, recording, rate)
                return self._read(path), "samples"
        try:
            path = Path(recording)
        except TypeError:
            has, fix = type(recording).__name__, "give a path, or samples as a numpy array"
            raise UserError(f"{has}: is no recording; {fix}") from None
        return self._read(path), name_of(path)

    def _read(self, path: Path) -> Int16:
        scratch = Scratch(self.scratch_folder)
        decoded = decode(path, sample_rate=self.sample_rate, scratch=scratch, with_digest=False)
        return np.asarray(decoded.waveform)
