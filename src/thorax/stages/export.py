"""Turn the trained network into the model file that `predict` runs."""

from thorax.params import load_params
from thorax.stages import MODEL_FILE, SEGMENTER, made_by, run, tell


def main() -> None:
    """Write `models/segmenter.onnx`, and see that both find the same voxels."""
    from thorax.exporting import export
    from thorax.specs import SPEC
    from thorax.trained import MODEL

    with made_by("train", SEGMENTER / MODEL, SEGMENTER / SPEC):
        exported = export(SEGMENTER, MODEL_FILE, threshold=load_params().predict.threshold)
    tell(str(exported))


if __name__ == "__main__":
    run(main)
