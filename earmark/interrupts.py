"""Ctrl-C while libraries are imported: no traceback. To be imported before all else.

Commands and stages take seconds to import what they use. Until `earmark.exits.clean_exit` answers
Ctrl-C in a line, it ends the process as it ends programs that do not ask for it.
"""

import signal
import sys
from pathlib import Path

_STARTS = ("-m", "earmark/__main__.py")  # what argv[0] is, or ends with, while Python starts us


def raise_again() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, unless it is ignored, as in a background job."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Nowhere else: who imports earmark as a library keeps the handler that is there.
if (
    Path(sys.argv[0]).as_posix().endswith(_STARTS)
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, signal.SIG_DFL)
