"""Stage `predict`: segment the test cases with the exported model."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tqdm import tqdm

from thorax.common.files import empty_folder
from thorax.common.parallel import one_blas_thread
from thorax.common.params import load_params
from thorax.datasets.dataset import load_dataset
from thorax.io import Scan
from thorax.pipeline import run, with_rerun_hint
from thorax.pipeline.paths import DATA, MODEL_FILE, PREDICTIONS, predicted_mask
from thorax.pipeline.prediction_files import map_path, write_certainty

if TYPE_CHECKING:
    from thorax.inference.outputs import Bits, Outputs


@one_blas_thread
def main() -> None:
    """Write one mask per test case to `data/predictions`, the same as `thorax predict` writes.

    Probability maps and certainties are written too: `evaluate` measures their calibration.
    """
    from thorax.inference.outputs import write_outputs
    from thorax.inference.segmenter import Segmenter, load

    params = load_params()
    dataset = load_dataset(DATA / params.dataset)
    with with_rerun_hint("export", MODEL_FILE):
        segmenter, threshold = Segmenter([load(MODEL_FILE)]), params.predict.threshold
    empty_folder(PREDICTIONS)
    names = segmenter.spec.provenance["split"]["test"]
    certainties: list[tuple[str, str, float | None]] = []
    for name in tqdm(names, desc="predict", unit="case"):
        case = dataset.case(name)
        preprocessed = segmenter.preprocess(Scan(case.scan), intensity=case.intensity)
        prediction = segmenter.predict(preprocessed, threshold=threshold)
        outputs = outputs_of(name, prediction.regions.names, bits=params.predict.bits)
        write_outputs(prediction, outputs)
        certainties += [
            (name, region, scores.certainty)
            for region, scores in prediction.quality_by_region.items()
        ]
    write_certainty(certainties)


def outputs_of(name: str, regions: Iterable[str], *, bits: "Bits") -> "Outputs":
    """Output paths of a case: its mask, and its probability maps unless `bits` is 0."""
    from thorax.inference.outputs import Outputs

    maps = [map_path(name, region) for region in regions] if bits else []
    return Outputs(predicted_mask(name), tuple(maps), bits or 8)


if __name__ == "__main__":
    run(main)
