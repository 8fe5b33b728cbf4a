"""Whether the layers that a model does not train are those of its network."""

import difflib
from collections.abc import Sequence

from earmark.networks import Network
from earmark.wording import MANY, first_of, shown

N_SHOWN = 4  # names of parameters in a message


def frozen_problems(network: Network, frozen: Sequence[str], key: str) -> list[str]:
    """Beginnings of names of parameters that none has, or that leave nothing to train.

    Args:
        network: as it is trained, on whatever device.
        key: the path of the model in params.yaml.
    """
    names = [name for name, _ in network.named_parameters()]
    unknown = [
        beginning for beginning in frozen if not any(name.startswith(beginning) for name in names)
    ]
    is_few = len(unknown) <= MANY  # of more, one is shown, and to look for near names takes seconds
    problems = [
        f"{key}.training.frozen: no parameter begins with {shown(beginning)}; "
        f"{_fix(beginning if is_few else '', names)}"
        for beginning in unknown
    ]
    trained = [
        name
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and not name.startswith(tuple(frozen))
    ]
    if frozen and not problems and not trained:
        fix = "take some layers out of the list"
        problems.append(f"{key}.training.frozen: nothing is left to train; {fix}")
    return problems


def _fix(beginning: str, names: Sequence[str]) -> str:
    """The layers and parameters that are nearest, or else the first parameters."""
    parts = [name.split(".") for name in names]
    layers = {".".join(part[:n]) for part in parts for n in range(1, len(part) + 1)}
    near = difflib.get_close_matches(beginning[:100], sorted(layers), n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"choose from {first_of(names, limit=N_SHOWN)}"
