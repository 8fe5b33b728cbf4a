"""Why a recording cannot be used, in one line that says how to fix it."""

from pathlib import Path

from earmark.sound.recordings import name_of

REASONS = (
    *("missing", "empty", "truncated", "unreadable"),
    *("beyond_end", "too_short", "not_finite", "silent"),
)


class UnusableAudio(ValueError):  # noqa: N818 -- it says what the file is
    """A recording that cannot be used, with one of REASONS and one line that says how to fix it.

    missing: no such file, or a link to a missing file. empty: no samples. truncated: fewer samples
    than the header promises. unreadable: no file but a folder, pipe or device, no permission, or
    nothing that libsndfile decodes. beyond_end: an excerpt that ends after its recording.
    too_short: less than 10 ms. not_finite: NaN or infinity among the samples. silent: all samples
    are equal, or below the step of 24 bits, or the channels cancel each other.
    """

    def __init__(self, path: Path, reason: str, finding: str, fix: str) -> None:
        assert reason in REASONS, reason
        super().__init__(path, reason, finding, fix)  # all four, or it could not be pickled
        self.reason = reason
        self.message = f"{name_of(path.name)}: {finding}; {fix}"

    def __str__(self) -> str:
        return self.message
