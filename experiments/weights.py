"""Which weight files the experiments of a table start from: those that params.yaml names."""

import logging
from collections.abc import Iterator
from typing import Any

from earmark.errors import UserError
from earmark.layout import Layout
from earmark.networks import find
from earmark.params.reading import load_params, parse_params
from earmark.params.roster import entries_of, weights_of
from earmark.settings.model_validation import weight_problems

logger = logging.getLogger(__name__)


def take_weights(params: dict[str, Any], layout: Layout) -> None:
    """Put the weight files that the workspace's params.yaml names into a profile; log which.

    An entry takes the file of the entry of its own name, if that has the same network. A network
    with published weights, such as VGGish, takes that of any entry.

    Args:
        params: of the profile, with its extractors and models; changed in place.

    Raises:
        UserError: params.yaml is unsound, or names several files for a network, or one that is
            missing or does not fit.
    """
    if not layout.params.exists():
        return
    user = load_params(layout.params)
    given = {key: (e.network.name, weights_of(user, e)) for key, e in entries_of(user).items()}
    given = {key: (name, start) for key, (name, start) in given.items() if start[0]}
    problems = []
    for key, entry, section, keys in _entries(params):
        name = entry["network"]["name"]
        starts = {start for network, start in given.values() if network == name}
        if key in given and given[key][0] == name:
            starts = {given[key][1]}
        elif not find(name).published:
            continue
        if len(starts) > 1:
            files = " and ".join(sorted(path for path, _ in starts))
            problems.append(f"params.yaml: {files} are named for {name}, so {key} could be either")
        elif starts:
            (start,) = starts
            section |= dict(zip(keys, start, strict=True))
            logger.info("%s starts from %s, which params.yaml names", key, start[0])
    parsed, _ = parse_params(params, "the profile")
    problems += weight_problems(parsed, layout) if parsed else []
    if problems:
        raise UserError(*problems)


def name_weights_by_absolute_paths(params: dict[str, Any], layout: Layout) -> None:
    """Name weight files so that they are found from an experiment's own folder."""
    given = [(section, keys[0]) for _, _, section, keys in _entries(params)]
    for section, key in [*given, (params["model"], "init_from")]:
        if section.get(key):
            section[key] = str(layout.root / section[key])


def _entries(params: dict[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any], tuple[str, str]]]:
    """Key path, entry, and where its weight file is named, of all models and extractors."""
    for name, entry in params["extractors"].items():
        yield f"extractors.{name}", entry, entry, ("weights", "weights_sha256")
    for group, models in params["models"].items():
        for name, entry in models.items():
            section = entry.setdefault("training", {})
            yield f"models.{group}.{name}", entry, section, ("init_from", "init_sha256")
