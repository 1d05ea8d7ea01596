"""How fast, how large, how soon: one question a file.

Classes are benchmarks of asv (``asv run``). Files with a `main` are commands too (``python -m benchmarks.compare``):
they print a table and fail where a bar is missed. ``python -m benchmarks`` runs all of these.
"""
