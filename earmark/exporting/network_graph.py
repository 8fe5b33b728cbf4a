"""Networks as graphs of their own, by torch's exporter: segments in, probabilities out.

Shapes: B segments, S rows of a segment, K tags.
"""

import contextlib
import copy
import io
import logging
import warnings
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from earmark.errors import UserError, reason_of
from earmark.exporting.graph import OPSET
from earmark.networks import Network
from earmark.taggers.tagger import Tagger

_EXAMPLES = 3  # segments in the example that the exporter follows; any other number will do later
_EXAMPLE_ROWS = 37  # likewise, of a clip that is read whole
_LONG_ROWS = 331  # likewise, of what a network of AudioSet reads


class _Probabilities(nn.Module):
    """Probabilities (B, K) of segments (B, S, ...) as they are stored."""

    def __init__(self, tagger: Tagger) -> None:
        super().__init__()
        self.tagger, self.network = tagger, copy.deepcopy(tagger.network).cpu()

    def forward(self, segments: Tensor) -> Tensor:
        logits: Tensor = self.network(self.tagger.input.standardise(segments.clone()))
        logits = logits[:, : len(self.tagger.tags)].float()
        is_softmax = self.tagger.activation == "softmax"
        return logits.softmax(dim=1) if is_softmax else logits.sigmoid()


class _Embeddings(nn.Module):
    """Features (B, D) of segments (B, S, ...) as they are stored."""

    def __init__(self, tagger: Tagger) -> None:
        super().__init__()
        self.tagger, self.network = tagger, copy.deepcopy(tagger.network).cpu()

    def forward(self, segments: Tensor) -> Tensor:
        features: Tensor = self.network.forward_features(
            self.tagger.input.standardise(segments.clone())
        )
        return features.float()


class _OverTime(nn.Module):
    """Features over time (B, R, D) of the rows (B, N, M) of a clip."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, rows: Tensor) -> Tensor:
        return self.network.features_over_time(rows)


def probabilities_graph(tagger: Tagger, row_shape: tuple[int, ...]) -> onnx.ModelProto:
    """The graph of a tagger's network: (B, S, *row_shape) -> (B, K)."""
    lengths = tagger.input.lengths
    is_fixed = len(lengths) == 1 and lengths[0] > 0
    shape = (lengths[0] if is_fixed else max(*lengths, _EXAMPLE_ROWS), *row_shape)
    module = _Probabilities(tagger)
    return _export(module, shape, any_rows=not is_fixed, name=tagger.network_name)


def embeddings_graph(extractor: Tagger, row_shape: tuple[int, ...]) -> onnx.ModelProto:
    """The graph of an extractor: segments of one row each, (B, 1, *row_shape) -> (B, D)."""
    name = extractor.network_name
    return _export(_Embeddings(extractor), (1, *row_shape), any_rows=False, name=name)


def over_time_graph(network: Network, row_shape: tuple[int, ...]) -> onnx.ModelProto:
    """The graph of a network that is not trained: (B, N, M) -> (B, R, D)."""
    name = type(network).__name__
    return _export(_OverTime(network), (_LONG_ROWS, *row_shape), any_rows=True, name=name)


def _export(
    module: nn.Module, shape: tuple[int, ...], *, any_rows: bool, name: str
) -> onnx.ModelProto:
    """Export a module of one input (B, *shape), of which B may vary, and the rows if `any_rows`."""
    module.eval()
    example = torch.zeros(_EXAMPLES, *shape)
    sizes: dict[int, Any] = {0: torch.export.Dim("segments")}
    if any_rows:
        sizes[1] = torch.export.Dim.AUTO
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                module, (example,), dynamo=True, dynamic_shapes=(sizes,), opset_version=OPSET,
                verbose=False,
            )  # fmt: skip
    except torch.onnx.errors.OnnxExporterError as error:
        cause = error.__cause__ or error
        raise UserError(
            f"network {name}: torch cannot export it to ONNX ({reason_of(cause)}); "
            "leave this model out"
        ) from error
    assert program is not None
    return program.model_proto


@contextlib.contextmanager
def _quiet() -> Any:
    """Without what the exporter says about itself."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
