"""params.yaml with the values of `-S`, for as long as stages run side by side."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from earmark.errors import UserError, reason_of
from earmark.whole_files import whole_file


@contextmanager
def overridden(params: Path, changes: Sequence[str], kept: Path) -> Iterator[None]:
    """Let params.yaml have the changes inside the block, and be as it was after it.

    The last `dvc exp run -S` makes them itself: two times `+key=value` would be an error. What
    params.yaml was is kept in a file, from which a run after a kill puts it back, unless somebody
    has edited it since.

    Args:
        params: params.yaml.
        changes: as `dvc exp run -S` takes them.
        kept: that file.

    Raises:
        UserError: a change cannot be made.
    """
    _put_back(params, kept)
    if not changes:
        yield
        return
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    before = params.read_text(encoding="utf-8")
    trial = kept.with_suffix(".yaml")
    trial.write_text(before, encoding="utf-8")
    try:
        apply_overrides(trial, list(changes))
    except DvcException as error:
        cause = reason_of(error.__cause__ or error)
        raise UserError(f"-S {' '.join(changes)}: {cause}") from None
    changed = trial.read_text(encoding="utf-8")
    trial.unlink()
    with whole_file(kept) as part:
        part.write_text(json.dumps({"before": before, "changed": changed}), encoding="utf-8")
    with whole_file(params) as part:
        part.write_text(changed, encoding="utf-8")
    try:
        yield
    finally:
        _put_back(params, kept)


def _put_back(params: Path, kept: Path) -> None:
    if not kept.exists():
        return
    texts = json.loads(kept.read_text(encoding="utf-8"))
    if params.read_text(encoding="utf-8") == texts["changed"]:
        with whole_file(params) as part:
            part.write_text(texts["before"], encoding="utf-8")
    kept.unlink()
