"""Turn the trained network into the model file that `predict` runs."""

from thorax.common.params import load_params
from thorax.pipeline import log, run, with_rerun_hint
from thorax.pipeline.paths import MODEL_FILE, SEGMENTER


def main() -> None:
    """Write `models/segmenter.onnx`, and see that both find the same voxels."""
    from thorax.models.export import export
    from thorax.models.keras_file import MODEL
    from thorax.models.spec import SPEC

    with with_rerun_hint("train", SEGMENTER / MODEL, SEGMENTER / SPEC):
        exported = export(SEGMENTER, MODEL_FILE, threshold=load_params().predict.threshold)
    log(str(exported))


if __name__ == "__main__":
    run(main)
