"""Weight files: safetensors written whole, and read only if they are the pinned ones."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from earmark.checksums import sha256_of
from earmark.errors import UserError


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write tensors as safetensors, from whatever device they are on.

    Raises:
        UserError: the file cannot be written, as when the disk is full.
    """
    on_cpu = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    try:
        save_file(on_cpu, path, metadata)
    except SafetensorError as error:
        fix = "free disk space and run it again; it goes on where it stood"
        raise UserError(f"{path}: could not be written ({error}); {fix}") from error


def load_weights(
    network: nn.Module, path: Path, sha256: str, *, fresh: Collection[str] = ()
) -> list[str]:
    """Load a network's tensors from a safetensors file, as far as the file has them.

    Args:
        network: takes the values over; tensors of the file that it does not have are ignored.
        path: the file.
        sha256: of the file, 64 hex digits, as params.yaml gives it.
        fresh: names of tensors that keep the values that they have, whatever is in the file; a
            network's `tag_tensors()` where the file's network has other tags.

    Returns:
        The sorted names of the tensors that keep the values that they have, but for a loaded batch
        norm's count of batches: published files often lack it, and nothing reads it.

    Raises:
        UserError: the file is missing, is another than the pinned one, or does not fit.
    """
    _check_pin(path, sha256)
    state = network.state_dict()
    loaded = _read(path, [key for key in state if key not in fresh])
    misfits = [
        f"{key} {tuple(value.shape)} does not fit the network, which has {tuple(state[key].shape)}"
        for key, value in loaded.items()
        if state[key].shape != value.shape
    ]
    if misfits or not loaded:
        problem = misfits[0] if misfits else "none of its tensors is one of the network"
        raise UserError(f"weights {path}: {problem}; correct the network's options or the path")
    network.load_state_dict(loaded, strict=False)
    counts = {f"{norm}.num_batches_tracked" for norm in _norms_of(loaded)}
    return sorted(set(state) - set(loaded) - counts)


def _norms_of(tensors: Collection[str]) -> Iterator[str]:
    """The names of the batch norms whose statistics are among these tensors."""
    statistic = ".running_mean"
    return (name.removesuffix(statistic) for name in tensors if name.endswith(statistic))


def check_format(path: Path) -> None:
    """Check that there is a file of weights, whatever they are.

    Raises:
        UserError: there is no file, or it is no safetensors file.
    """
    _check_exists(path)
    _read(path, [])


def _check_exists(path: Path) -> None:
    if not path.is_file():
        fix = "correct the path, or set it to '' for random values"
        raise UserError(f"weights {path}: there is no such file; {fix}")


def _check_pin(path: Path, sha256: str) -> None:
    _check_exists(path)
    if (actual := sha256_of(path)) != sha256:
        fix = "restore the file, or write this sha256 into params.yaml if the change is meant"
        raise UserError(f"weights {path}: sha256 is {actual}, params.yaml says {sha256}; {fix}")


def _read(path: Path, names: list[str]) -> dict[str, Tensor]:
    """The tensors of these names, as far as the file has them."""
    try:
        with safe_open(path, "pt") as file:
            stored = set(file.keys())
            return {key: file.get_tensor(key) for key in names if key in stored}
    except SafetensorError as error:
        fix = "make one with `python -m earmark convert`"
        raise UserError(f"weights {path}: no safetensors file ({error}); {fix}") from None
