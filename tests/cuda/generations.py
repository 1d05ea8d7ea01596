"""Kernels compiled once and linked for two generations of devices: what each takes of them, kept on disk."""

import hashlib
import json

from rnncore import folders
from rnncore.cuda import target
from rnncore.cuda.linker import linked
from rnncore.cuda.loaded import _environment

CAPABILITIES = [(8, 0), (9, 0)]
WORDS = ("registers", "spill_stores", "spill_loads", "stack_bytes", "shared_bytes", "float64_instructions")


def reports(text):
    """What a kernel's code takes of each generation, by `WORDS`, of single precision whatever the text is of.

    It is compiled for the first and linked for both: what is compiled for either is linked to the same code (tested
    in test_every_kernel.py).
    """
    text = text.replace("float64", "float32")
    key = "generations-" + hashlib.sha256(f"{_environment()}{text}".encode()).hexdigest()[:32]
    files = folders.kept(key)
    if files is None:
        code = target.translated(text, CAPABILITIES[0])
        found = [linked(code, capability) for capability in CAPABILITIES]
        words = [{word: getattr(report, word) for word in WORDS} for report in found]
        folders.keep(key, files := {"reports.json": json.dumps(words).encode()})
    return dict(zip(CAPABILITIES, json.loads(files["reports.json"])))
