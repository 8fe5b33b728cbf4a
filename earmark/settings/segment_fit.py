"""Whether a network can read its segments, and how long they would have to be.

Shapes: S rows of a segment.
"""

from earmark.features import FeatureType
from earmark.params import Network
from earmark.settings.network_size import load_of
from earmark.settings.objections import objections

ROWS = {
    "segment_seconds": "frames",
    "segment_samples": "samples",
    "segment_patches": "patches",
}
MOST_ROWS = 1 << 24  # that are tried: longer ones fit in no memory


def segment_refusal(network: Network, feature: FeatureType, n_rows: int) -> str:
    """What a network has against segments of so many rows, with the fix; "" for nothing."""
    try:
        load_of(network, feature, n_rows)
    except RuntimeError as error:  # torch's own, of sizes that the user never wrote
        least = least_rows(network, feature, n_rows)
        rows, size = ROWS[feature.segment_key], feature.row_shape
        if least:
            return (
                f"{n_rows} {rows} are too short for {network.name}, which needs at least {least} "
                "of them; make the segment longer"
            )
        shape = " x ".join(map(str, (n_rows, *size)))
        reason = " ".join(str(error).split())[:200]
        return f"{network.name} cannot read segments of {shape}; change its options ({reason})"
    except Exception:  # of earmark's networks a ValueError in our words; of others, anything
        (line,) = objections(load_of, network, feature, n_rows)
        return f"{line}; make the segment fit the network's options"
    return ""


def least_rows(network: Network, feature: FeatureType, n_rows: int) -> int:
    """The smallest number of rows above `n_rows` that the network reads; 0 if it reads none."""

    def fits(n: int) -> bool:
        return not objections(load_of, network, feature, n)

    too_few, enough = n_rows, 2 * n_rows
    while not fits(enough):
        too_few, enough = enough, 2 * enough
        if enough > MOST_ROWS:
            return 0
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if fits(middle) else (middle, enough)
    return enough
