"""The networks by name, and how to build one from the options that params.yaml gives it."""

import importlib
import inspect
from collections.abc import Mapping

from earmark.networks.base import Network

__all__ = ["NETWORKS", "Network", "Option", "build", "default_options", "find"]

Option = int | float | str | bool

# A plain literal, "module:class" by name: it is also read without importing it, and only the module
# of the network that is asked for is ever imported.
NETWORKS: dict[str, str] = {
    "densenet": "earmark.networks.densenet:DenseNet",
    "cnn2d": "earmark.networks.cnn2d:CNN2d",
    "compact_cnn": "earmark.networks.compact_cnn:CompactCNN",
    "resnet2d": "earmark.networks.resnet:ResNet2d",
    "resnet1d": "earmark.networks.resnet:ResNet1d",
    "soundnet": "earmark.networks.soundnet:SoundNet",
    "cnn_audio": "earmark.networks.fusion_cnn:CNNAudio",
    "cnn_spec": "earmark.networks.fusion_cnn:CNNSpec",
    "cnn_comb": "earmark.networks.fusion_cnn:CNNComb",
    "vggish": "earmark.networks.vggish:VGGish",
    "segment_dnn": "earmark.networks.segment_dnn:SegmentDNN",
    "lstm": "earmark.networks.lstm:LSTM",
    "linear": "earmark.networks.linear:Linear",
    "mlp": "earmark.networks.mlp:MLP",
    "multilevel_attention": "earmark.networks.attention:MultiLevelAttention",
    "cbir": "earmark.networks.cbir:CBIR",
    "samplecnn": "earmark.networks.samplecnn:SampleCNN",
    "mobilenet": "earmark.networks.mobilenet:MobileNet",
    "ced": "earmark.networks.ced:CED",
    "cnn14": "earmark.networks.cnn14:CNN14",
    "yamnet": "earmark.networks.yamnet:YAMNet",
    "rese2multi": "earmark.networks.rese2multi:ReSE2Multi",
}


def find(name: str) -> type[Network]:
    """Return the class of a network, importing its module and no other network's.

    Args:
        name: a key of `NETWORKS`, or "package.module:Class" for a network of the user's own.

    Raises:
        ValueError: there is no such network, or the class is no complete `Network`.

    >>> find("samplecnn").feature_types
    frozenset({'waveform'})
    """
    module_name, separator, class_name = NETWORKS.get(name, name).partition(":")
    if not separator or not all(part.isidentifier() for part in module_name.split(".")):
        raise ValueError(
            f"unknown network {name!r}; choose one of {', '.join(NETWORKS)}, "
            "or name a class of your own as package.module:Class"
        )
    module = _import(module_name, name)
    found = getattr(module, class_name, None)
    if found is None:
        raise ValueError(
            f"network {name!r}: {module_name} has no class {class_name!r}; correct the name"
        )
    return _checked(found, name)


def default_options(name: str) -> dict[str, Option]:
    """Return a network's options with their defaults, which are the paper's values.

    Args:
        name: as for `find`.

    Raises:
        ValueError: there is no such network.
    """
    return {p.name: p.default for p in _options_of(find(name))}


def build(name: str, n_tags: int, options: Mapping[str, Option]) -> Network:
    """Build a network with fresh weights, drawn from torch's global generator.

    Args:
        name: a key of `NETWORKS`, or "package.module:Class" for a network of the user's own.
        n_tags: how many logits it gives.
        options: its constructor's keyword arguments, as far as they differ from the defaults.

    Raises:
        ValueError: the network or the option is unknown, or an option has a wrong type or value.

    >>> import torch
    >>> network = build("densenet", n_tags=3, options={"growth": 8, "units": 2})
    >>> frames = torch.zeros(2, 173, 80)  # 2 s of log-mel: (clips, frames, mels)
    >>> features = network.forward_features(frames)
    >>> features.shape, network.feature_dim
    (torch.Size([2, 144]), 144)
    >>> network(frames).shape  # the same as network.forward_head(features)
    torch.Size([2, 3])
    """
    network, defaults = find(name), default_options(name)
    for option, value in options.items():
        if option not in defaults:
            valid = ", ".join(defaults) or "none"
            raise ValueError(f"{name} has no option {option!r}; its options are {valid}")
        expected = type(defaults[option])
        if type(value) is not expected and (expected, type(value)) != (float, int):
            raise ValueError(f"{name}.{option} must be of type {expected.__name__}, got {value!r}")
    return network(n_tags, **options)


def _import(module_name: str, name: str) -> object:
    try:
        return importlib.import_module(module_name)
    except ImportError as error:
        if f"{module_name}.".startswith(f"{error.name}."):
            path = f"{module_name.replace('.', '/')}.py"
            fix = f"write {path} in the folder where you run earmark, or correct the name"
        else:
            fix = f"correct what {module_name} imports, or install it"
        raise ValueError(f"network {name!r}: {error}; {fix}") from error


def _checked(found: object, name: str) -> type[Network]:
    """The class itself, once it is known to keep the contract of `Network`."""
    if not (isinstance(found, type) and issubclass(found, Network)):
        raise ValueError(
            f"network {name!r} is no Network; derive the class from earmark.networks.Network "
            "(extensions/__init__.py shows one)"
        )
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise ValueError(f"network {name!r} has no {missing}; implement it")
    if not getattr(found, "feature_types", None):
        fix = 'set it on the class, such as feature_types = frozenset({"logmel"})'
        raise ValueError(f"network {name!r} has no feature_types; {fix}")
    for option in _options_of(found):
        if type(option.default) not in (int, float, str, bool):
            fix = "give it one that is an int, a float, a str or a bool"
            raise ValueError(
                f"network {name!r}: option {option.name!r} has no plain default; {fix}"
            )
    return found


def _options_of(network: type[Network]) -> list[inspect.Parameter]:
    parameters = inspect.signature(network).parameters.values()
    return [p for p in parameters if p.kind is p.KEYWORD_ONLY]
