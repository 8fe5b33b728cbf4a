"""A thin writer of ONNX graphs: one call for each operator, constants kept once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 20  # what torch's exporter writes; `Graph.inline` refuses another
IR_VERSION = 10  # of onnxruntime 1.18 and later

Value = str  # the name of a tensor in the graph


class Graph:
    """Nodes and constants of a graph while it is written.

    >>> graph = Graph()
    >>> doubled = graph.op("Mul", graph.input("x", np.float32, ["batch"]), graph.floats(2.0))
    >>> graph.output("y", doubled, np.float32, ["batch"])
    >>> [node.op_type for node in graph.model({}).graph.node]
    ['Mul', 'Identity']
    """

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._by_content: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._n_inlined = 0

    def input(self, name: str, dtype: type, shape: Sequence[str | int]) -> Value:
        """Declare an input; a dimension that is a name may have any size."""
        self._inputs.append(_value_info(name, dtype, shape))
        return name

    def op(self, type_: str, *inputs: Value, **attributes: Any) -> Value:
        """Add a node with one output, and return that."""
        return self.ops(type_, *inputs, n_outputs=1, **attributes)[0]

    def ops(self, type_: str, *inputs: Value, n_outputs: int, **attributes: Any) -> list[Value]:
        """Add a node with several outputs."""
        number = len(self._nodes)
        outputs = [f"{type_.lower()}_{number}_{i}" for i in range(n_outputs)]
        self._nodes.append(helper.make_node(type_, list(inputs), outputs, **attributes))
        return outputs

    def constant(self, array: NDArray[Any]) -> Value:
        """A constant of the graph; equal ones are stored once."""
        array = np.asarray(array, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._by_content:
            name = f"constant_{len(self._constants)}"
            self._constants[name] = numpy_helper.from_array(array, name)
            self._by_content[key] = name
        return self._by_content[key]

    def floats(self, values: Any) -> Value:
        return self.constant(np.asarray(values, np.float32))

    def ints(self, values: Any) -> Value:
        return self.constant(np.asarray(values, np.int64))

    def size(self, value: Value, axis: int) -> Value:
        """The size of an axis, as a scalar int64."""
        shape = self.op("Shape", value, start=axis, end=axis + 1)
        return self.op("Squeeze", shape, self.ints([0]))

    def cast(self, value: Value, dtype: type) -> Value:
        return self.op("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def pad(self, value: Value, before: int, after: int | Value, mode: str = "constant") -> Value:
        """Pad axis 1 of (batch, samples)."""
        if not before and after == 0:
            return value
        last = self.ints([after]) if isinstance(after, int) else self.as_list(after)
        pads = self.op("Concat", self.ints([0, before, 0]), last, axis=0)
        return self.op("Pad", value, pads, mode=mode)

    def as_list(self, scalar: Value) -> Value:
        """A scalar as a tensor of one dimension."""
        return self.op("Unsqueeze", scalar, self.ints([0]))

    def inline(self, model: onnx.ModelProto, value: Value, *, key: str) -> Value:
        """Copy a model of one input and one output into this graph.

        Args:
            value: what its input is here.
            key: of the model; its weights are stored once for every copy that has the same key.
        """
        graph, copy = model.graph, f"{key}.{self._n_inlined}"
        self._n_inlined += 1
        check_inlinable(model)
        names = {"": "", graph.input[0].name: value}
        for tensor in graph.initializer:
            name = names[tensor.name] = f"{key}.{tensor.name}"
            if name not in self._constants:
                stored = onnx.TensorProto()
                stored.CopyFrom(tensor)
                stored.name = name
                self._constants[name] = stored
        for node in graph.node:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            copied.ClearField("metadata_props")  # torch's stack traces, with paths of this machine
            copied.ClearField("doc_string")
            copied.name = ""
            names |= {name: f"{copy}.{name}" for name in node.output if name}
            copied.input[:] = [names[name] for name in node.input]
            copied.output[:] = [names[name] for name in node.output]
            self._nodes.append(copied)
        return names[graph.output[0].name]

    def output(self, name: str, value: Value, dtype: type, shape: Sequence[str | int]) -> None:
        """Declare an output."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(_value_info(name, dtype, shape))

    def model(self, metadata: dict[str, str]) -> onnx.ModelProto:
        """The model, checked, with what describes it."""
        used = {name for node in self._nodes for name in node.input}
        constants = [tensor for name, tensor in self._constants.items() if name in used]
        graph = helper.make_graph(self._nodes, "earmark", self._inputs, self._outputs, constants)
        model = helper.make_model(
            graph,
            producer_name="earmark",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
        return model


def check_inlinable(model: onnx.ModelProto) -> None:
    """Assert what `Graph.inline` relies on of what torch's exporter writes."""
    opsets = {one.domain: one.version for one in model.opset_import if not one.domain}
    assert opsets == {"": OPSET}, opsets
    assert not model.functions
    assert len(model.graph.input) == len(model.graph.output) == 1
    types = {attribute.type for node in model.graph.node for attribute in node.attribute}
    assert onnx.AttributeProto.GRAPH not in types, "a branch or a loop"


def _value_info(name: str, dtype: type, shape: Sequence[str | int]) -> onnx.ValueInfoProto:
    type_ = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    assert type_ != TensorProto.UNDEFINED
    return helper.make_tensor_value_info(name, type_, list(shape))
