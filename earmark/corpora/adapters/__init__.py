"""Corpora: one adapter a layout, each of which yields one clips table."""

import difflib

from earmark.corpora.adapters import (
    dcase2017_task4,
    esc,
    folder,
    fsdkaggle2018,
    magnatagatune,
    msos,
    speech_commands,
    urbansound8k,
)
from earmark.corpora.adapters.adapter import Adapter
from earmark.errors import UserError

__all__ = ["ADAPTERS", "Adapter", "find"]

ADAPTERS: dict[str, Adapter] = {
    "folder": folder.ADAPTER,
    "fsdkaggle2018": fsdkaggle2018.ADAPTER,
    "msos": msos.ADAPTER,
    "esc10": esc.ESC10,
    "esc50": esc.ESC50,
    "urbansound8k": urbansound8k.ADAPTER,
    "magnatagatune": magnatagatune.ADAPTER,
    "speech_commands_12": speech_commands.COMMANDS_12,
    "speech_commands_31": speech_commands.COMMANDS_31,
    "speech_commands_35": speech_commands.COMMANDS_35,
    "dcase2017_task4": dcase2017_task4.ADAPTER,
    "dcase2017_task4_development": dcase2017_task4.DEVELOPMENT,
}


def find(name: str) -> Adapter:
    """The adapter of a name; UserError suggests the nearest one."""
    if name in ADAPTERS:
        return ADAPTERS[name]
    near = difflib.get_close_matches(name, ADAPTERS, n=1)
    fix = f"did you mean {near[0]}?" if near else f"there are {', '.join(ADAPTERS)}"
    raise UserError(f"corpus.adapter: no adapter {name!r}; {fix}")
