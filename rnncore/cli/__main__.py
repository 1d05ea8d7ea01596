"""``python -m rnncore.cli``."""

from . import main

main()
