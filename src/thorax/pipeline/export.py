"""Stage `export`: convert the trained Keras network to the ONNX model file."""

from thorax.common.params import load_params
from thorax.pipeline import log, run, with_rerun_hint
from thorax.pipeline.paths import MODEL_FILE, SEGMENTER


def main() -> None:
    """Write `models/segmenter.onnx` and check that it predicts the same as the Keras network."""
    from thorax.models.export import export_model
    from thorax.models.keras_file import MODEL
    from thorax.models.spec import SPEC

    with with_rerun_hint("train", SEGMENTER / MODEL, SEGMENTER / SPEC):
        exported = export_model(SEGMENTER, MODEL_FILE, threshold=load_params().predict.threshold)
    log(str(exported))


if __name__ == "__main__":
    run(main)
