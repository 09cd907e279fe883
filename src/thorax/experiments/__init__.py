"""Many runs in one command, on DVC's experiment queue: cross-validation and sweeps.

`plan` makes runs and their names out of overrides, `queue` is the only module that talks to DVC and
git, `running` brings the runs to their end, `tables` makes figures of their scores.
"""
