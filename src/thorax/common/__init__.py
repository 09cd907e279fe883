"""Errors, atomic files, tables, parallel work, machine, parameters and project."""
