"""Cross-validation, sweeps, and the comparison of their scores.

`runs` plans named runs, `inputs` checks what they need, `runner` schedules them, `tasks` starts
each as a process, `execution` is the program of that process, `project` calls git and DVC,
`summaries` aggregates scores.
"""
