"""Where the networks of members lie, with the extractors that they read embeddings of."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from earmark.layout import Layout
from earmark.taggers.description import read_description


def network_folders(members: Mapping[str, Sequence[str]], layout: Layout) -> dict[str, Path]:
    """The folder of every network by its path below the root, `models/MEMBER/FOLD`.

    Args:
        members: name -> the folds of its networks.

    Raises:
        UserError: another version of earmark wrote one.
    """
    folders: dict[str, Path] = {}
    for member, folds in members.items():
        for fold in folds:
            names = [member]
            if extractor := read_description(layout.model(member, fold)).get("extractor"):
                names.append(extractor)
            folders |= {f"models/{name}/{fold}": layout.model(name, fold) for name in names}
    return folders
