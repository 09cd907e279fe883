"""Synthetic chest CTs with masks of the lungs and of what is wrong inside them.

Made from a seed alone, so that the pipeline runs, and learns something, without any data.
"""

from thorax.phantom.assembly import INFECTION, Chest, chest
from thorax.phantom.lungs import LEFT, RIGHT

__all__ = ["INFECTION", "LEFT", "RIGHT", "Chest", "chest"]
