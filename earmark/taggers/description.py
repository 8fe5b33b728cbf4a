"""What stands beside the weights of a tagger: its json file, which is read without torch."""

from pathlib import Path

from earmark.errors import UserError
from earmark.records import Record, read_json

FORMAT = 4
DESCRIPTION, WEIGHTS = "model.json", "weights.safetensors"


def read_description(folder: Path) -> Record:
    """What `Tagger.save` wrote of a tagger beside its weights.

    Raises:
        UserError: another version of earmark wrote it.
        DamagedError: it is cut short.
    """
    metadata = read_json(folder / DESCRIPTION)
    if metadata["format"] != FORMAT:
        age = "an older" if metadata["format"] in range(FORMAT) else "another"
        formats = f"format {metadata['format']}, not {FORMAT}"
        raise UserError(f"{folder}: made by {age} earmark ({formats}); run `dvc repro`")
    return metadata
