"""Segment the test cases with the segmenter."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tqdm import tqdm

from thorax.common.files import empty_folder
from thorax.common.parallel import one_blas_thread
from thorax.common.params import load_params
from thorax.datasets.dataset import load_dataset
from thorax.io import Scan
from thorax.pipeline import run, with_rerun_hint
from thorax.pipeline.paths import DATA, MODEL_FILE, PREDICTIONS
from thorax.pipeline.prediction_files import map_path, write_certainty

if TYPE_CHECKING:
    from thorax.inference.outputs import Bits, Outputs


@one_blas_thread
def main() -> None:
    """Write one mask a test case to `data/predictions`, as `thorax predict` would.

    Probabilities, and how sure the model is of itself, for `evaluate` to see how far they can be
    believed, go there as well.
    """
    from thorax.inference.outputs import write_outputs
    from thorax.inference.segmenter import Segmenter, load

    params = load_params()
    dataset = load_dataset(DATA / params.dataset)
    with with_rerun_hint("export", MODEL_FILE):
        segmenter, threshold = Segmenter([load(MODEL_FILE)]), params.predict.threshold
    empty_folder(PREDICTIONS)
    names = segmenter.spec.provenance["split"]["test"]
    sure: list[tuple[str, str, float | None]] = []
    for name in tqdm(names, desc="predict", unit="case"):
        case = dataset.case(name)
        opened = segmenter.open(Scan(case.scan), domain=case.domain)
        found = segmenter.find(opened, threshold=threshold)
        write_outputs(found, outputs_of(name, found.regions.names, bits=params.predict.bits))
        told = zip(found.regions.names, found.quality, strict=True)
        sure += [(name, region, doubt.certainty) for region, doubt in told]
    write_certainty(sure)


def outputs_of(name: str, regions: Iterable[str], *, bits: "Bits") -> "Outputs":
    """Where the mask of a case goes, and its probabilities unless they have no bits."""
    from thorax.inference.outputs import Outputs

    maps = [map_path(name, region) for region in regions] if bits else []
    return Outputs(PREDICTIONS / f"{name}.nii.gz", tuple(maps), bits or 8)


if __name__ == "__main__":
    run(main)
