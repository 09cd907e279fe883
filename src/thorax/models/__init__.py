"""Networks, pretrained weights, model spec, model files, inference engines and export."""
