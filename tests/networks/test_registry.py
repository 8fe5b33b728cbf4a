"""Networks are found and built by name, and nothing else is imported."""

import ast
import doctest
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import earmark.networks
import extensions
from earmark.networks import NETWORKS, build, default_options, find
from tests.networks.small_networks import N_TAGS


def test_an_unknown_network_names_the_valid_ones() -> None:
    for name in ("resnext", ".my_net:MyNet", ":MyNet"):
        with pytest.raises(ValueError, match=rf"unknown network '{name}'.*densenet, cnn2d"):
            build(name, N_TAGS, {})


def test_an_unknown_option_names_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"densenet has no option 'grwoth'.*growth, stem_channels"):
        build("densenet", N_TAGS, {"grwoth": 8})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("densenet", {"growth": 8.0}, "densenet.growth must be of type int"),
        ("densenet", {"growth": True}, "densenet.growth must be of type int"),
        ("densenet", {"transition": "max"}, "pool, conv1, conv3"),
        ("densenet", {"theta": 0.5}, "theta must be 1.0"),
        ("resnet1d", {"blocks_per_stage": 3}, "must divide 10"),
        ("soundnet", {"head": "mean"}, "conv, max"),
        ("cnn_audio", {"n_samples": 8191}, "at least 8192"),
        ("cnn_spec", {"n_mels": 63}, "at least 64, got 173 and 63"),
        ("cbir", {"branches": 3}, "1 or 2"),
        ("cbir", {"adapters": "first"}, "all, last, none"),
        ("rese2multi", {"n_samples": 17_000}, "13122 and 19683"),
        ("samplecnn", {"width": "0.5"}, "samplecnn.width must be of type float"),
        ("vggish", {"init": "zero"}, "he, vggish"),
        ("vggish", {"embedding_activation": "tanh"}, "relu, none"),
        ("multilevel_attention", {"v_act": "relu"}, "softmax, sigmoid"),
        ("multilevel_attention", {"levels": 4}, "from 1 to 3"),
    ],
)
def test_a_wrong_option_says_what_is_allowed(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, N_TAGS, options)


def test_a_whole_number_will_do_for_a_float() -> None:
    network = build("samplecnn", N_TAGS, {"n_samples": 243, "dropout": 0})
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0]


@pytest.mark.parametrize("name", NETWORKS)
def test_default_options_are_plain_and_complete(name: str) -> None:
    options = default_options(name)
    assert all(type(value) in (int, float, str, bool) for value in options.values())
    with torch.device("meta"):
        networks = [build(name, 7, given).state_dict() for given in ({}, options)]
    shapes = [{key: value.shape for key, value in state.items()} for state in networks]
    assert shapes[0] == shapes[1]


def test_the_registry_is_a_literal_that_can_be_read_without_an_import() -> None:
    tree = ast.parse(Path(earmark.networks.__file__).read_text())
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "NETWORKS"
    )
    assert value is not None
    assert ast.literal_eval(value) == NETWORKS
    assert all(find(name).__module__ == path.split(":")[0] for name, path in NETWORKS.items())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "expected"), [("", set()), ("densenet", {"densenet"})])
def test_only_the_network_that_is_built_is_imported(name: str, expected: set[str]) -> None:
    code = f"""
        import sys, earmark.networks
        if {name!r}:
            earmark.networks.build({name!r}, 2, {{}})
        print(*(m for m in sys.modules if m.startswith("earmark.networks.")))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {module.split(".")[-1] for module in done.stdout.split()}
    assert imported - {"base", "inputs", "layers"} == expected


def test_the_example_of_build_is_true() -> None:
    result = doctest.testmod(earmark.networks)
    assert result.attempted > 5
    assert result.failed == 0


# A network of the user's own


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh package outside of earmark, by a name that no other test imports."""
    name = f"own_networks_{tmp_path.name}"
    (tmp_path / name).mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    return name


def write(package: str, tmp_path: Path, code: str) -> str:
    (tmp_path / package / "my_net.py").write_text(textwrap.dedent(code))
    return f"{package}.my_net"


def example() -> str:
    """The file that the docstring of `extensions` shows."""
    text = (extensions.__doc__ or "").split("`extensions/my_net.py`:\n")[1]
    return textwrap.dedent(text.split("\nand the network of")[0])


def test_the_example_of_extensions_is_a_network(package: str, tmp_path: Path) -> None:
    name = f"{write(package, tmp_path, example())}:MyNet"
    assert default_options(name) == {"channels": 32}
    network = build(name, N_TAGS, {"channels": 8})
    assert type(network).__name__ == "MyNet"
    assert network(torch.zeros(2, 33, 20)).shape == (2, N_TAGS)
    assert network.feature_dim == network.forward_features(torch.zeros(2, 33, 20)).shape[1] == 8
    assert network.tag_tensors() == {"head.weight", "head.bias"}
    with pytest.raises(ValueError, match="channels must be of type int"):
        build(name, N_TAGS, {"channels": "8"})


HEADER = "from earmark.networks import Network\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("MyNet = 3", "is no Network; derive the class from earmark.networks.Network"),
        ("from torch.nn import Linear as MyNet", "derive the class from earmark.networks.Network"),
        ("", "has no class 'MyNet'; correct the name"),
        (HEADER + "class MyNet(Network): pass", "has no forward_features; implement it"),
        (
            HEADER + "class MyNet(Network):\n    def forward_features(self, x): return x",
            "has no feature_types; set it on the class",
        ),
        (
            HEADER + "class MyNet(Network):\n"
            "    feature_types = frozenset({'logmel'})\n"
            "    def __init__(self, n_tags, *, width): pass\n"
            "    def forward_features(self, x): return x",
            "option 'width' has no plain default; give it one",
        ),
        ("import no_such_library", "No module named 'no_such_library'; correct what .* imports"),
        ("from torch import no_such_name", "cannot import name 'no_such_name'.*; correct what .*"),
    ],
)
def test_a_class_that_is_no_complete_network_says_what_to_do(
    package: str, tmp_path: Path, code: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(f"{write(package, tmp_path, code)}:MyNet", N_TAGS, {})


def test_a_missing_file_is_named(package: str) -> None:
    with pytest.raises(ValueError, match=f"write {package}/my_net.py in the folder"):
        find(f"{package}.my_net:MyNet")
