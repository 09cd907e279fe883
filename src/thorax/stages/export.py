"""Turn the trained network into the model file that `predict` runs."""

from thorax.stages import MODEL_FILE, SEGMENTER, run, tell


def main() -> None:
    """Write `models/segmenter.onnx`, and see that both find the same voxels."""
    from thorax.exporting import export

    tell(str(export(SEGMENTER, MODEL_FILE)))


if __name__ == "__main__":
    run(main)
