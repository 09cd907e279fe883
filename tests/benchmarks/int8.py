"""Speed and masks of a model in 8-bit integers, against bfloat16 and float32.

    pip install nncf; python tests/benchmarks/int8.py [--model MODEL] [--scan CT]...

NNCF quantises weights and activations of the graph that OpenVINO runs, after calibration on
synthetic chests whose numbers no training uses. Other chests, and the scans that are given, are
then segmented. Dice is that of the mask on the canvas against the one in float32, before
postprocessing; the lowest and the mean over regions and scans are printed. A chest without lung in
either mask does not count.
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import openvino
from lungs import FIRST_CHEST
from measuring import say, timed
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.machine import cores
from thorax.imaging.intensity import Window
from thorax.imaging.overlap import mean_defined, overlap
from thorax.inference.segmenter import Segmenter, load
from thorax.io import Scan
from thorax.models.engines import Engine
from thorax.models.engines.openvino_engine import BATCH, MOST_STREAMS, OpenVinoEngine
from thorax.models.engines.planes_graph import from_planes, planes_around
from thorax.models.onnx_file import read_model
from thorax.models.packaged import find_model
from thorax.phantom import WIDE, chest

Planes = NDArray[np.int16]

Mask = NDArray[np.bool_]

ROUNDS = 5


class QuantisedEngine(OpenVinoEngine):
    """The OpenVINO engine with weights and activations in 8 bits.

    Args:
        graph: The exported graph.
        window: HU window of the network.
        chests: Slices on the canvas, for the calibration.
    """

    def __init__(self, graph: bytes, window: Window, chests: list[Planes]) -> None:
        core, streams = openvino.Core(), min(cores(), MOST_STREAMS)
        extended, self._context = from_planes(graph, window, batch=BATCH)
        network = quantised(core.read_model(extended), chests, self._context)
        settings = {"NUM_STREAMS": str(streams), "INFERENCE_NUM_THREADS": cores()}
        compiled = core.compile_model(network, "CPU", settings)
        self._shape = tuple(compiled.output(0).shape)
        self._queue = openvino.AsyncInferQueue(compiled, streams)


@click.command()
@click.option("--model", default="lungs", show_default=True, help="Exported model.")
@click.option("--scan", "scans", multiple=True, type=click.Path(path_type=Path), help="Also CT.")
@click.option("--calibration", default=24, show_default=True, help="Chests for calibration.")
@click.option("--chests", default=24, show_default=True, help="Chests that are segmented.")
def main(model: str, scans: tuple[Path, ...], calibration: int, chests: int) -> None:
    """Quantise a model, then print speed and Dice of each precision."""
    path = find_model(model)
    loaded = load(path, engine="openvino", precision="float32")
    segmenter, spec = Segmenter([loaded]), loaded.spec
    seen = place_chests(segmenter, range(calibration))
    chosen = range(calibration, calibration + chests)
    groups = {
        "chests": place_chests(segmenter, chosen),
        "scans": [segmenter.preprocess(Scan(scan)).planes for scan in scans],
    }
    engines = {
        "float32": loaded.engine,
        "auto": load(path, engine="openvino").engine,
        "int8": QuantisedEngine(read_model(path)[1], spec.window, seen),
    }
    speed = time_in_turn(engines, max(groups["scans"] or groups["chests"], key=len))
    segmented = {
        (name, group): masks(engine, groups[group], spec.threshold)
        for name, engine in engines.items()
        for group in groups
    }
    say(f"{'precision':<10} {'stacks/s':>9} {'chests: lowest, mean Dice':>27} {'scans':>15}")
    for name in engines:
        cells = [
            lowest_and_mean(segmented["float32", group], segmented[name, group]) for group in groups
        ]
        say(f"{name:<10} {speed[name]:9.1f} {cells[0]:>27} {cells[1]:>15}")


def place_chests(segmenter: Segmenter, numbers: range) -> list[Planes]:
    """Put synthetic chests on the canvas, except those whose intensity is unknown."""
    placed = []
    for number in numbers:
        case = chest(FIRST_CHEST + number, seed=0, variety=WIDE)
        scan = Scan.in_memory(case.scan.voxels, case.scan.grid.affine, name=case.name)
        with suppress(InputError):
            placed.append(segmenter.preprocess(scan).planes)
    return placed


def quantised(network: Any, chests: list[Planes], context: int) -> Any:
    """Quantise weights and activations to 8 bits."""
    import nncf

    batches = [
        planes_around(planes, start, batch=BATCH, context=context)
        for planes in chests
        for start in range(0, len(planes), 4 * BATCH)
    ]
    # The window is computed from integers of 16 bits, which the engine cannot quantise.
    window = nncf.Subgraph(inputs=["hu"], outputs=["gathered"])
    return nncf.quantize(
        network,
        nncf.Dataset(batches),
        subset_size=len(batches),
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(subgraphs=[window]),
    )


def time_in_turn(engines: Mapping[str, Engine], planes: Planes) -> dict[str, float]:
    """Return the stacks per second of each precision, the fastest of some rounds."""
    best = dict.fromkeys(engines, np.inf)
    for _ in range(ROUNDS):
        for name, engine in engines.items():
            best[name] = min(best[name], timed(partial(engine.probabilities, planes)))
    return {name: len(planes) / seconds for name, seconds in best.items()}


def masks(engine: Engine, scans: list[Planes], threshold: float) -> list[Mask]:
    """Return the mask of each region of each scan."""
    probabilities = (engine.probabilities(planes) for planes in scans)
    return [region >= threshold for maps in probabilities for region in np.moveaxis(maps, -1, 0)]


def lowest_and_mean(reference: list[Mask], other: list[Mask]) -> str:
    """Return the lowest and the mean Dice; empty without scans."""
    dice = [overlap(*pair).dice for pair in zip(reference, other, strict=True)]
    return f"{np.nanmin(dice):.4f}, {mean_defined(dice):.4f}" if dice else ""


if __name__ == "__main__":
    main()
