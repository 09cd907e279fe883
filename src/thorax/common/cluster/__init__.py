"""A Dask cluster: its settings, its start, and work with one item at a time per worker.

Dask is imported inside the functions, because it is an extra (`thorax[cluster]`).
"""
