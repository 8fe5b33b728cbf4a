"""The published weight files by their sha256: those that can be fetched, and two more."""

from dataclasses import dataclass

from earmark.published.download.published import PUBLISHED


@dataclass(frozen=True)
class Known:
    """A published file.

    Attributes:
        sha256: all 64 digits, or the first 8 where the file's name is all that states them.
        flaw: why it must not be used; empty if it may.
    """

    name: str
    sha256: str
    flaw: str = ""


KNOWN = (
    *(
        Known(file.name, file.checksum.removeprefix("sha256:"))
        for weights in PUBLISHED.values()
        if weights.kind == "weights"
        for file in weights.files
        if file.checksum.startswith("sha256:")
    ),
    Known("vggish_pca_params-970ea276.pth", "970ea276"),
    Known(
        "vggish-cbfe8f1c.pth",  # torchvggish's first; its history says that it did not match
        "cbfe8f1c",
        flaw="its kernels have time and frequency swapped; take vggish-10086976.pth",
    ),
)  # of SoundNet nobody states a checksum


def find(sha256: str) -> Known | None:
    """The published file with this checksum, if it is one."""
    return next((file for file in KNOWN if sha256.startswith(file.sha256)), None)
