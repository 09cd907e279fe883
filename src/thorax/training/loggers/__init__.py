"""Loggers: TensorBoard, MLflow and Weights & Biases, each in a process of its own.

A service that hangs, fails, prints or draws random numbers can neither stop nor change a training.
"""
