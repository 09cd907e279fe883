"""Networks as artefacts: architectures, pretrained weights, model spec, files, engines, export."""
