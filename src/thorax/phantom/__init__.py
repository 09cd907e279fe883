"""Synthetic chest CTs with masks of lungs and infection.

They depend only on a seed, so the pipeline runs, and a network can be trained, without any data.
"""

from thorax.phantom.assembly import INFECTION, Chest, chest
from thorax.phantom.lungs import LEFT, RIGHT

__all__ = ["INFECTION", "LEFT", "RIGHT", "Chest", "chest"]
