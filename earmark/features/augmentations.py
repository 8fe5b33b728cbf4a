"""Which of the recipe's augmentations apply to which segments."""

from earmark.features import find
from earmark.params.roster import FUSION

# A waveform and its frames must stay those of one moment, at one tempo and pitch.
OF_FUSION = frozenset({"mixup_at", "mask_frames", "mask_bands"})
OF_LENGTHS = frozenset({"time_stretch", "band_shift"})  # not of whole clips, each as long as it is


def supported_augmentations(type_name: str, *, whole_clips: bool) -> frozenset[str]:
    """The keys of AUGMENTATIONS that apply to segments of a type of feature, or of fusion."""
    supported = OF_FUSION if type_name == FUSION else find(type_name).augmentations
    return supported - OF_LENGTHS if whole_clips else supported
