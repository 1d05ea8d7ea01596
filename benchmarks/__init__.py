"""How fast, how large, how soon: one question a file.

Classes are benchmarks of asv (``asv run``). ``checkpointing``, ``compare``, ``gpu``, ``japanese_vowels``,
``long_memory``, ``memory`` and ``startup`` are commands too (``python -m benchmarks.compare``): they print a table and
fail where a bar is missed.
"""
