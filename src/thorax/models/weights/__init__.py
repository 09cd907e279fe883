"""Files of the models that are part of the package."""
