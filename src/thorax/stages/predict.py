"""Segment the test cases with the segmenter."""

from tqdm import tqdm

from thorax.cases import load_dataset
from thorax.params import load_params
from thorax.scans import Scan
from thorax.stages import DATA, PREDICTIONS, SEGMENTER, run
from thorax.writing import empty_folder


def main() -> None:
    """Write one mask a test case to `data/predictions`, as `thorax predict` would."""
    from thorax.segmenter import load

    params = load_params()
    dataset = load_dataset(DATA / params.dataset)
    segmenter = load(SEGMENTER)
    empty_folder(PREDICTIONS)
    names = segmenter.spec.provenance["split"]["test"]
    for name in tqdm(names, desc="predict", unit="case"):
        case = dataset.case(name)
        segmenter.segment(
            Scan(case.scan),
            PREDICTIONS / f"{name}.nii.gz",
            domain=case.domain,
            threshold=params.predict.threshold,
        )


if __name__ == "__main__":
    run(main)
