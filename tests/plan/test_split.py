from rnncore import Network
from rnncore.lang import cell, max, tanh, where
from rnncore.testing import check_curvature, check_directions, check_kernel


@cell
def highest(w, x, h, m):
    """What is compared is a sum of products, of which one is used elsewhere, too: rounded there, fused here."""
    a = 0.7 * h
    return a + tanh(w.h(x)), max(a + h) + 0.1 * tanh(w.m(m))


@cell
def leader(w, x, h):
    """The author compares for equality."""
    a = 0.7 * h
    v = a + h
    return where(v == max(v), tanh(w.a(x, h)), a + 0.1 * w.b(x))


def test_what_is_compared_for_equality_is_not_computed_again():
    for layer in (highest, leader):
        for units in (1, 9):
            net = Network(layer(units), inputs=2, outputs=3)
            check_kernel(net, batch=9, time=9)
            check_directions(net, batch=9, time=9)


def test_the_way_back_of_a_direction_compares_the_same_numbers():
    check_curvature(Network(highest(5), inputs=2), batch=9, time=9)
