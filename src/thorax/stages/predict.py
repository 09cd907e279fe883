"""Segment the test cases with the segmenter."""

from tqdm import tqdm

from thorax.cases import load_dataset
from thorax.params import load_params
from thorax.scans import Scan
from thorax.stages import DATA, MODEL_FILE, PREDICTIONS, run
from thorax.writing import empty_folder


def main() -> None:
    """Write one mask a test case to `data/predictions`, as `thorax predict` would."""
    from thorax.outputs import Outputs, write_outputs
    from thorax.segmenter import Segmenter, load

    params = load_params()
    dataset = load_dataset(DATA / params.dataset)
    segmenter, threshold = Segmenter([load(MODEL_FILE)]), params.predict.threshold
    empty_folder(PREDICTIONS)
    names = segmenter.spec.provenance["split"]["test"]
    for name in tqdm(names, desc="predict", unit="case"):
        case = dataset.case(name)
        opened = segmenter.open(Scan(case.scan), domain=case.domain)
        write_outputs(
            segmenter.find(opened, threshold=threshold),
            Outputs(PREDICTIONS / f"{name}.nii.gz"),
            regions=segmenter.regions,
            threshold=threshold,
        )


if __name__ == "__main__":
    run(main)
