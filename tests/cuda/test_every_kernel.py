"""Every kernel of every component, compiled and linked for two generations of devices.

Of cells, topologies and scorers put together here are those whose equations differ; of all that the tests of this
folder put together, each test compiles what it launches where ``RNNCORE_EVERY_KERNEL`` is set: an hour and a
half of one core.
"""

import re

import generations
import laws
import pytest
import stress
import writers

import rnncore as rn
from rnncore.cuda import target
from rnncore.cuda.emit import emit
from rnncore.cuda.linker import linked
from rnncore.cuda.writer import Tiling
from rnncore.plan.kernels import plan_of

if target.missing_to_compile():
    pytest.skip(str(target.missing_to_compile()), allow_module_level=True)


# of each pass, rows and columns that are summed at once, and whether weights are near and lanes share the inner size
TILINGS = {"infer": (1, 4, False), "forward": (4, 4, True), "backward": (1, 4, False)}
NETWORKS = {name: lambda make=make: laws.network(make, 5) for name, make in laws.CELLS.items()}
NETWORKS |= {name: lambda name=name: laws.stress_network(name, 5) for name in stress.CELLS}
NETWORKS |= {name: lambda make=make: laws.network(make, 5) for name, make in laws.TOPOLOGIES.items()}
NETWORKS |= {
    f"decoder-{name}": lambda scorer=scorer: writers.network(rn.cells.vanilla, scorer, units=4)
    for name, scorer in writers.SCORERS.items()
}
NETWORKS["decoder-fed"] = lambda: writers.network(rn.cells.vanilla, rn.scorers.dot(), "after", units=4)


def texts(net, which):
    """The kernels of a network's loops."""
    for layer, _ in net.loops.values():
        plan = plan_of(layer.step, which)
        many = sum(map(len, plan.waves))
        rows, columns, near = TILINGS[which]
        yield emit(plan, "float32", Tiling(rows, columns, (near,) * many, (near,) * many), False).text


@pytest.mark.parametrize("which", TILINGS)
@pytest.mark.parametrize("name", NETWORKS)
def test_kernels_link_and_are_of_their_own_type_alone(name, which):
    """And those of the cells that come with rnncore keep to the registers."""
    for text in texts(NETWORKS[name](), which):
        for report in generations.reports(text).values():
            assert report["float64_instructions"] == 0
            assert name not in laws.CELLS or report["spill_stores"] == report["stack_bytes"] == 0


def test_what_is_compiled_for_a_generation_is_for_those_after_it():
    """And so a kernel is compiled once here. Only numbers in names tell one from the other."""
    (text,) = texts(laws.network(rn.cells.lstm, 5), "forward")
    first, second = ((linked(target.translated(text, made), (9, 0))) for made in generations.CAPABILITIES)
    same = [re.sub(r"_smem_\d+", "_smem", report.ptx.replace(report.name, "kernel")) for report in (first, second)]
    assert same[0].split(".version")[1] == same[1].split(".version")[1]
    assert ".target sm_90" in same[0] and first.registers == second.registers
