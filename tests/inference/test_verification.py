"""A file of weights is what it is called, and computes what its authors' code computes."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from earmark.__main__ import app
from earmark.errors import UserError
from earmark.features.mn import MnLogMel
from earmark.inference import verification
from earmark.networks import Network, build
from earmark.networks.mobilenet import MobileNet
from earmark.weights import save_tensors

PUBLISHED = "899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c"


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return MobileNet(527, width=0.1).eval()


@pytest.fixture
def weights(network: Network, tmp_path: Path) -> Path:
    return save(tmp_path / "mn.safetensors", network, PUBLISHED, width=0.1)


def save(path: Path, network: Network, source_sha256: str, *, width: float) -> Path:
    noted = {
        "source_sha256": source_sha256,
        "network": {"name": "mobilenet", "width": width},
        "feature": {"type": "mn", "width": width},
    }
    save_tensors(path, network.state_dict(), {"earmark": json.dumps(noted)})
    return path


@pytest.fixture
def reference(network: Network, tmp_path: Path) -> Path:
    """What the network itself makes of two recordings."""
    made = []
    for number, seconds in enumerate([0.3, 2.0]):
        sound = np.random.default_rng(number).normal(0, 0.1, (int(44_100 * seconds), 2))
        soundfile.write(tmp_path / f"{number}.wav", sound, 44_100, subtype="FLOAT")
        mono = sound.astype(np.float32).mean(1)
        frames = torch.from_numpy(MnLogMel(sample_rate=44_100)(mono))[None]
        with torch.inference_mode():
            features = network.forward_features(frames)
            made.append((features[0].numpy(), network.forward_head(features)[0].numpy()))
    embedding, logits = map(np.array, zip(*made, strict=True))
    path = tmp_path / "reference.npz"
    np.savez(path, path=["0.wav", "1.wav"], embedding=embedding, logits=logits)
    return path


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "KNOWN", {})


def verify(weights: Path, reference: Path | None = None, name: str = "mn04_as") -> list[str]:
    """The lines of the command; raises what ends it."""
    more = []
    if reference:
        more = ["--reference", str(reference), "--recordings", str(reference.parent)]
    done = CliRunner().invoke(app, ["verify-weights", name, str(weights), *more])
    if done.exception:
        raise done.exception
    return done.output.splitlines()


def test_the_same_network_on_the_same_recordings_agrees(weights: Path, reference: Path) -> None:
    source, line = verify(weights, reference)
    assert source == f"{weights}: the published mn04_as_mAP_432.pt, by its checksum"
    assert line.startswith("mobilenet on 2 clips: embeddings differ by at most 0.0e+00")


@pytest.mark.parametrize("name", ["features.16.1.bias", "head.3.bias"])
def test_another_value_anywhere_is_found(
    network: Network, reference: Path, tmp_path: Path, name: str
) -> None:
    with torch.no_grad():
        network.get_parameter(name).add_(0.5)
    other = save(tmp_path / "other.safetensors", network, PUBLISHED, width=0.1)
    with pytest.raises(UserError, match="is not the network that made it"):
        verify(other, reference)


def test_what_is_known_of_a_made_sound_is_compared(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"embedding": [9.0] * 8, "logits": [0.0] * 8}
    monkeypatch.setattr(verification, "KNOWN", {"mn04_as": known})
    with pytest.raises(UserError, match="mobilenet on a made sound: embeddings differ"):
        verify(weights)


def test_a_file_of_another_source_is_not_what_it_is_called(
    network: Network, tmp_path: Path
) -> None:
    other = save(tmp_path / "other.safetensors", network, "0" * 64, width=0.1)
    with pytest.raises(UserError, match="made of a file with sha256 0000"):
        verify(other)
    (line,) = verify(other, name="mn01_as")
    assert "no checksum is published for it" in line


def test_faulty_use_is_one_line(weights: Path, reference: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no download 'mn4'"):
        verify(weights, name="mn4")
    with pytest.raises(UserError, match="no reference"):
        verify(weights, weights)
    (tmp_path / "0.wav").unlink()
    with pytest.raises(UserError, match=r"0\.wav: cannot be read"):
        verify(weights, reference)
    wider = build("mobilenet", 527, {"width": 0.2})
    with pytest.raises(UserError, match="does not fit the network"):
        verify(save(tmp_path / "wider.safetensors", wider, PUBLISHED, width=0.1))
