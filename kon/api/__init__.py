"""The Python API: functions and commands over items, from a program. See docs/python-api.md.

Its names are offered by `kon` itself; the modules here are loaded when one is used.
"""
