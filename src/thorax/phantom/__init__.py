"""Synthetic chest CTs with masks of lungs and infection.

They depend only on a seed, so the pipeline runs, and a network can be trained, without any data.
"""

from thorax.phantom.assembly import INFECTION, Chest, chest
from thorax.phantom.lungs import LEFT, RIGHT
from thorax.phantom.variety import PLAIN, WIDE, Variety

__all__ = [
    "INFECTION",
    "LEFT",
    "PLAIN",
    "RIGHT",
    "WIDE",
    "Chest",
    "Variety",
    "chest",
]
