"""The published networks that learned AudioSet: EfficientAT's MobileNets, CED, CNN14 and YAMNet."""

from collections.abc import Iterator
from urllib.parse import quote

from earmark.published.download.entry import Published, PublishedFile

_EFFICIENTAT = "https://github.com/fschmid56/EfficientAT"
# Name of the release's asset, and sha256 and size where independent public projects pin them.
_MOBILENETS = (
    ("mn01_as_mAP_298", "", None),
    ("mn02_as_mAP_378", "", None),
    (
        "mn04_as_mAP_432",
        "899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c",
        4_066_513,
    ),
    ("mn05_as_mAP_443", "", None),
    (
        "mn10_as_mAP_471",
        "0bd7dc2443af498c289a2e739f02ebb515d6aa3fd3ab9db539c86123ae368a4e",
        19_708_753,
    ),
    ("mn20_as_mAP_478", "", None),
    ("mn30_as_mAP_482", "", None),
    ("mn40_as_mAP_484", "", None),
)
# Size, revision on the hub, and the sha256 there of model.safetensors. Three public projects pin
# that of tiny, one those of the others.
_CEDS = (
    (
        "tiny",
        "ace276d29dd0bb3f3517b0fa8cf300738c409019",
        "0e086f0cd62814c6def89001f3f25193f75955696f6975ef6800af31d00d6dd7",
    ),
    (
        "mini",
        "26c3ebcae85d4330f4fc26763f029539a3afcda0",
        "e4070d02ca53ec7a1df83bbf779a0e70bc2bbc0a9bacde6330e1dc37c990b215",
    ),
    (
        "small",
        "06bb40c5ec089e96867ebc5246be02441f4a71e4",
        "a495e319a620dec4c8b7ca7bb927667ed68169a9efc1a943ccbf5d5c6f9c0c71",
    ),
    (
        "base",
        "db3e14a8db4c21b56b165261c39649741a900e7f",
        "314935693ed1dcef07576ca0c41277c51c642f3847bc5eb03918c5277eb79af9",
    ),
)


def _mobilenet(asset: str, sha256: str, n_bytes: int | None) -> Published:
    name, _, precision = asset.partition("_mAP_")
    url = f"{_EFFICIENTAT}/releases/download/v0.0.1/{asset}.pt"
    return Published(
        name=name,
        kind="weights",
        to_convert=f"{asset}.pt",
        description=f"EfficientAT's MobileNet {name[:4]}, mAP 0.{precision} on AudioSet",
        licence="MIT",
        page=_EFFICIENTAT,
        n_bytes=n_bytes,
        files=(PublishedFile(f"{asset}.pt", url, f"sha256:{sha256}" if sha256 else ""),),
    )


def _ced(size: str, revision: str, sha256: str) -> Published:
    page = f"https://huggingface.co/mispeech/ced-{size}"
    file = f"mispeech-ced-{size}.safetensors"  # there each is called model.safetensors
    url = f"{page}/resolve/{revision}/model.safetensors"
    return Published(
        name=f"ced_{size}",
        kind="weights",
        to_convert=file,
        description=f"CED {size}, a transformer that learned AudioSet",
        licence="Apache-2.0",
        page=page,
        files=(PublishedFile(file, url, f"sha256:{sha256}"),),
    )


def _cnn14(name: str, file: str, sha256: str, n_bytes: int, description: str) -> Published:
    url = f"https://zenodo.org/records/3987831/files/{quote(file)}?download=1"
    return Published(
        name=name,
        kind="weights",
        to_convert=file,
        description=description,
        licence="CC BY 4.0",
        page="https://zenodo.org/records/3987831",
        n_bytes=n_bytes,
        files=(PublishedFile(file, url, f"sha256:{sha256}"),),
    )


def _all() -> Iterator[Published]:
    yield from (_mobilenet(*row) for row in _MOBILENETS)
    yield from (_ced(*row) for row in _CEDS)
    # several public projects pin both, and found the md5 of the record
    yield _cnn14(
        "cnn14",
        "Cnn14_mAP=0.431.pth",
        "0dc499e40e9761ef5ea061ffc77697697f277f6a960894903df3ada000e34b31",
        327_428_481,
        "CNN14 of the PANNs at 32 kHz, mAP 0.431 on AudioSet",
    )
    yield _cnn14(
        "cnn14_16k",
        "Cnn14_16k_mAP=0.438.pth",
        "e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6",
        358_668_570,
        "CNN14 of the PANNs at 16 kHz, mAP 0.438 on AudioSet",
    )
    yield Published(
        name="yamnet",
        kind="weights",
        to_convert="yamnet.pth",
        description="YAMNet, as torch_audioset converted TensorFlow's yamnet.h5 to PyTorch",
        licence="Apache-2.0; of the conversion's code: MIT",
        page="https://github.com/w-hc/torch_audioset",
        files=(
            PublishedFile(
                "yamnet.pth",
                "https://github.com/w-hc/torch_audioset/releases/download/v0.1/yamnet.pth",
            ),
        ),
    )


BACKBONES = tuple(_all())
