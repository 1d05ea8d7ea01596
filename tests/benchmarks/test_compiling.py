"""The processes whose seconds are counted do what they are counted for."""

from benchmarks.compiling import MORE, process


def test_a_process_steps_through_a_cell_of_its_own_and_compiles_nothing_for_other_sizes(tmp_path):
    seconds, printed = process("own", str(tmp_path), MORE)
    assert seconds > 0 and printed == "0\n"
    assert list(tmp_path.rglob("*.py"))
