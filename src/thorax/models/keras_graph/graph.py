"""An ONNX graph under construction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

INPUT, OUTPUT = "stacks", "probabilities"
"""Input ``(N, H, W, 2k+1)``, windowed, and output ``(N, H, W, R)`` of the graph."""

OPSET, IR_VERSION = 17, 8
"""Versions of the operators and of the format. All versions of ONNX Runtime and OpenVINO that
`setup.cfg` permits can read them; in opset 17 the axes of all reductions are attributes."""

Value = str | NDArray[Any]
"""Name of a result in the graph, or a constant."""


class Graph:
    """An ONNX graph under construction."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Any] = {}

    def add(self, kind: str, *inputs: Value, output: str | None = None, **attributes: Any) -> str:
        """Add a node and return the name of its only output.

        Args:
            kind: Name of the operator.
            inputs: Names, and constants, which are added as well; equal ones are stored once.
            output: Name of the output; None: a number.
            attributes: Attributes of the operator.
        """
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        name, output = f"{kind}_{len(self._nodes)}", output or f"value_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, names, [output], name, **attributes))
        return output

    def serialized(self, stack: Sequence[int], probabilities: Sequence[int]) -> bytes:
        """Return the graph as bytes.

        Args:
            stack: Shape of the input without the batch.
            probabilities: Shape of the output without the batch.
        """
        ends = (
            [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", *shape])]
            for name, shape in ((INPUT, stack), (OUTPUT, probabilities))
        )
        model = helper.make_model(
            helper.make_graph(self._nodes, "thorax", *ends, [*self._constants.values()]),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="thorax",
        )
        return model.SerializeToString(deterministic=True)

    def _constant(self, value: NDArray[Any]) -> str:
        array = np.ascontiguousarray(value)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"weight_{len(self._constants)}"
            self._constants[key] = numpy_helper.from_array(array, name)
        return self._constants[key].name
