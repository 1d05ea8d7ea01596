"""What a device would compute: the PTX that a kernel is compiled to, run instruction by instruction, on any machine.

All threads of a launch go together as NumPy's vectors. Meanings of instructions are those of the PTX ISA, version 9.0,
and owe nothing to the sources that the kernels are made of.
"""
