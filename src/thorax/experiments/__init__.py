"""Many runs in one command: cross-validation and sweeps.

`runs` turns parameter overrides into named runs, `runner` schedules them, `tasks` starts each as a
process, `execution` is what runs there, `project` calls git and DVC, `summaries` aggregates scores.
"""
