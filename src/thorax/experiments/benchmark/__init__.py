"""Published protocols on public datasets, and their results beside published ones.

`protocols` turns a protocol into settings, `covid19` provides the dataset, `scores` reads and
summarises the runs, `other_masks` scores masks of other tools, `published` lists published results,
`tables` writes everything as text and JSON.
"""
