"""Adapters: one file per corpus layout, found by name without importing the others."""

import difflib
from importlib import import_module

from earmark.corpora.adapters.adapter import Adapter
from earmark.errors import UserError

__all__ = ["ADAPTERS", "Adapter", "find"]

# Name -> module:constant. A plain literal: whoever asks what an adapter depends on reads it from
# the source, so that a change in one adapter concerns only the corpora that use it.
ADAPTERS: dict[str, str] = {
    "folder": "earmark.corpora.adapters.folder:ADAPTER",
    "fsdkaggle2018": "earmark.corpora.adapters.fsdkaggle2018:ADAPTER",
    "msos": "earmark.corpora.adapters.msos:ADAPTER",
    "esc10": "earmark.corpora.adapters.esc:ESC10",
    "esc50": "earmark.corpora.adapters.esc:ESC50",
    "urbansound8k": "earmark.corpora.adapters.urbansound8k:ADAPTER",
    "magnatagatune": "earmark.corpora.adapters.magnatagatune:ADAPTER",
    "speech_commands_12": "earmark.corpora.adapters.speech_commands:COMMANDS_12",
    "speech_commands_31": "earmark.corpora.adapters.speech_commands:COMMANDS_31",
    "speech_commands_35": "earmark.corpora.adapters.speech_commands:COMMANDS_35",
    "dcase2017_task4": "earmark.corpora.adapters.dcase2017_task4:ADAPTER",
    "dcase2017_task4_development": "earmark.corpora.adapters.dcase2017_task4:DEVELOPMENT",
}


def find(name: str) -> Adapter:
    """Import the adapter of that name, and no other.

    Raises:
        UserError: there is no such adapter; the message suggests the nearest name.
    """
    if name not in ADAPTERS:
        near = difflib.get_close_matches(name, ADAPTERS, n=1)
        fix = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(ADAPTERS)}"
        raise UserError(f"corpus.adapter: no adapter {name!r}; {fix}")
    module, constant = ADAPTERS[name].split(":")
    adapter: Adapter = getattr(import_module(module), constant)
    return adapter
