"""Table of a folder of masks: read what `thorax predict` wrote, join patients, write a table."""
