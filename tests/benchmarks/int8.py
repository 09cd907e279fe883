"""Speed and masks of a model in 8-bit integers, against bfloat16 and float32.

    pip install nncf; python tests/benchmarks/int8.py [--model MODEL] [--scan CT]...

NNCF quantises weights and activations of the graph that OpenVINO runs, after calibration on
synthetic chests whose numbers no training uses. Other chests, and the scans that are given, are
then segmented. Dice is that of the mask on the canvas against the one in float32, before
postprocessing; the lowest and the mean over regions and scans are printed. A chest without lung in
either mask does not count.
"""

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
from thorax.imaging.overlap import overlap
from thorax.inference.segmenter import Model, Segmenter, load
from thorax.io import Scan
from thorax.models.engines.openvino_engine import BATCH, OpenVinoEngine
from thorax.models.engines.planes_graph import from_planes, planes_around
from thorax.models.onnx_file import read_model
from thorax.models.packaged import find_model
from thorax.phantom import WIDE, chest

Planes = NDArray[np.int16]

ROUNDS = 5


class CompiledEngine(OpenVinoEngine):
    """The OpenVINO engine with a network that was compiled already.

    Args:
        network: Compiled, with the input and the batch of the engine.
        context: Neighbouring slices on each side.
    """

    def __init__(self, network: Any, context: int) -> None:
        self._context, self._shape = context, tuple(network.output(0).shape)
        self._queue = openvino.AsyncInferQueue(network, cores())


@click.command()
@click.option("--model", default="lungs", show_default=True, help="Exported model.")
@click.option("--scan", "scans", multiple=True, type=click.Path(path_type=Path), help="Also CT.")
@click.option("--calibration", default=24, show_default=True, help="Chests for calibration.")
@click.option("--chests", default=24, show_default=True, help="Chests that are segmented.")
def main(model: str, scans: tuple[Path, ...], calibration: int, chests: int) -> None:
    """Quantise a model, then print speed and Dice of each precision."""
    path = find_model(Path(model))
    loaded = load(path, engine="openvino", precision="float32")
    seen = place_chests(loaded, range(calibration))
    tried = place_chests(loaded, range(calibration, calibration + chests))
    given = [Segmenter([loaded]).preprocess(Scan(scan)).planes for scan in scans]
    spec, graph = read_model(path)
    extended, context = from_planes(graph, spec.window, batch=BATCH)
    whole = openvino.Core().read_model(extended)
    networks = {
        "float32": compiled(whole, INFERENCE_PRECISION_HINT="f32"),
        "auto": compiled(whole),
        "int8": compiled(quantised(whole, seen, context)),
    }
    engines = {name: CompiledEngine(network, context) for name, network in networks.items()}
    speed = time_in_turn(engines, max(given or tried, key=len))
    say(f"{'precision':<10} {'stacks/s':>9} {'chests: lowest, mean Dice':>27} {'scans':>15}")
    for name, engine in engines.items():
        columns = [
            dice_against(engines["float32"], engine, group, spec.threshold)
            for group in (tried, given)
        ]
        say(f"{name:<10} {speed[name]:9.1f} {columns[0]:>27} {columns[1]:>15}")


def place_chests(model: Model, numbers: range) -> list[Planes]:
    """Put synthetic chests on the canvas, except those whose intensity is unknown."""
    placed = []
    for number in numbers:
        case = chest(FIRST_CHEST + number, seed=0, variety=WIDE)
        scan = Scan.in_memory(case.scan.voxels, case.scan.grid.affine, name=case.name)
        with suppress(InputError):
            placed.append(Segmenter([model]).preprocess(scan).planes)
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


def compiled(network: Any, **settings: str) -> Any:
    """Compile a network with the settings of the OpenVINO engine."""
    streams: dict[str, Any] = {"NUM_STREAMS": str(cores()), "INFERENCE_NUM_THREADS": cores()}
    return openvino.Core().compile_model(network, "CPU", streams | settings)


def time_in_turn(engines: dict[str, CompiledEngine], planes: Planes) -> dict[str, float]:
    """Return the stacks per second of each precision, the fastest of some rounds."""
    best = dict.fromkeys(engines, np.inf)
    for _ in range(ROUNDS):
        for name, engine in engines.items():
            best[name] = min(best[name], timed(partial(engine.probabilities, planes)))
    return {name: len(planes) / seconds for name, seconds in best.items()}


def dice_against(
    reference: CompiledEngine, engine: CompiledEngine, scans: list[Planes], threshold: float
) -> str:
    """Return the lowest and the mean Dice of the masks against those of a reference."""
    dice = []
    for planes in scans:
        masks = [
            np.moveaxis(each.probabilities(planes) >= threshold, -1, 0)
            for each in (reference, engine)
        ]
        both = [overlap(*pair) for pair in zip(*masks, strict=True)]
        dice += [each.dice for each in both if each.truth or each.predicted]
    return f"{min(dice):.4f}, {np.mean(dice):.4f}" if dice else ""


if __name__ == "__main__":
    main()
