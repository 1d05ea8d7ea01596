"""Components of the tests: everyday ones, and published cells that strain the language, as a user would write them."""

import numpy as np

from rnncore.combine import chain, join, reverse, topology
from rnncore.lang import (
    abs,
    cell,
    constant,
    cos,
    diag,
    dot,
    exp,
    identity,
    layer_norm,
    log,
    loss,
    low_rank,
    mapped,
    max,
    maximum,
    mean,
    minimum,
    norm,
    relu,
    scalar,
    sigmoid,
    sin,
    softmax,
    softplus,
    sqrt,
    stop_gradient,
    sum,
    tanh,
    where,
)


@cell
def simple(w, x, h, *, activation="tanh"):
    """The plain recurrent network. Elman 1990."""
    return {"tanh": tanh, "relu": relu}[activation](w.h(x, h))


@cell
def gated(w, x, h, *, after=False):
    """A gated recurrent unit, with two products that depend on one another in a step. Cho et al. 2014."""
    z = sigmoid(w.z(x, h))
    r = sigmoid(w.r(x, h))
    n = tanh(w.n(x) + r * w.n(h)) if after else tanh(w.n(x, h=r * h))
    return (1 - z) * h + z * n


@cell
def memory(w, x, h, c):
    """Long short-term memory. Hochreiter and Schmidhuber 1997."""
    i, f, o = sigmoid(w.i(x, h)), sigmoid(w.f(x, h, bias=1.0)), sigmoid(w.o(x, h))
    c = f * c + i * tanh(w.g(x, h))
    return o * tanh(c), c


@loss
def squared(o, target):
    """Mean squared error."""
    return mean((o - target) ** 2)


@loss(target="class")
def entropy(o, target):
    """Negative log-probability of the class under a softmax."""
    d = o - stop_gradient(max(o))
    return log(sum(exp(d))) - dot(target, d)


@topology
def stacked(*layers, dropout=0.0, residual=False):
    """Layers over one another."""
    return chain(*layers, dropout=dropout, residual=residual)


@topology
def both_ways(layer, *, merge="concat"):
    """A layer in each direction of time."""
    return join(merge, forward=layer, backward=reverse(layer))


@cell
def rhn(w, x, h, *, depth=3):
    """Recurrent highway network, coupled gates. Zilly et al. 2017, arXiv:1607.03474, equations 7 to 9."""
    for d in range(depth):
        read = (x,) if d == 0 else ()
        n = tanh(w[f"n{d}"](*read, h=h))
        t = sigmoid(w[f"t{d}"](*read, h=h, bias=-1.0))
        h = t * n + (1 - t) * h
    return h


@cell
def lem(w, x, h, z, *, dt=1.0):
    """Long expressive memory. Rusch et al. 2022, arXiv:2110.04744, equation 3; their y is h."""
    fast = dt * sigmoid(w.a(x, h))
    slow = dt * sigmoid(w.b(x, h))
    z = (1 - fast) * z + fast * tanh(w.z(x, h))
    return (1 - slow) * h + slow * tanh(w.h(x, z=z)), z


@cell
def slstm(w, x, h, c, n, m):
    """sLSTM with its stabiliser m. Beck et al. 2024, arXiv:2405.04517, equations 8 to 18."""
    i, f, o = w.i(x, h), w.f(x, h, bias=3.0), sigmoid(w.o(x, h))
    kept = m - softplus(-f)  # log of sigmoid(f), added to the old scale
    new = where(n == 0, i, maximum(kept, i))  # the first step has no old scale
    i, f = exp(i - new), exp(kept - new)
    c = f * c + i * tanh(w.z(x, h))
    n = f * n + i
    return o * c / n, c, n, new


@cell
def lstmp(w, x, h, c, *, memory=11):
    """LSTM with peepholes and a recurrent projection. Sak et al. 2014, arXiv:1402.1128, equations 1 to 6."""
    i = sigmoid(w.i(x, h, c=diag(c), size=memory))
    f = sigmoid(w.f(x, h, c=diag(c), bias=1.0))
    c = f * c + i * tanh(w.g(x, h))
    o = sigmoid(w.o(x, h, c=diag(c)))
    return w.r(m=o * tanh(c), bias=False), c


@cell
def ln_lstm(w, x, h, c):
    """Layer-normalised LSTM. Ba et al. 2016, arXiv:1607.06450, equations 20 to 22."""

    def gate(name, bias=0.0):
        return w[f"gain_{name}"].init(1.0) * layer_norm(w[name](x, h, bias=False)) + w[f"bias_{name}"].init(bias)

    i, f, o = sigmoid(gate("i")), sigmoid(gate("f", 1.0)), sigmoid(gate("o"))
    c = f * c + i * tanh(gate("g"))
    return o * tanh(w.gain_c.init(1.0) * layer_norm(c) + w.bias_c.init(0.0)), c


@cell
def antisymmetric(w, x, h, *, epsilon=0.1, gamma=0.01):
    """AntisymmetricRNN. Chang et al. 2019, arXiv:1902.09689, equation 10."""
    return h + epsilon * tanh(w.h(x, mapped(h, lambda W: W - W.T - gamma * identity(W))))


@cell
def indrnn(w, x, h):
    """IndRNN. Li et al. 2018, arXiv:1803.04831, equation 2."""
    return relu(w.h(x, diag(h)))


@cell
def gru_d(w, x, h, last, *, m, dt):
    """GRU-D: x where the mask m is 1, else decayed to 0. Che et al. 2018, arXiv:1606.01865, equations 10 to 17."""
    decay = exp(-relu(w.d(diag(dt))))
    seen = m * x + (1 - m) * (decay * last)
    h = exp(-relu(w.e(dt))) * h
    z = sigmoid(w.z(m, x=seen, h=h))
    r = sigmoid(w.r(m, x=seen, h=h))
    n = tanh(w.n(m, x=seen, h=r * h))
    return (1 - z) * h + z * n, m * x + (1 - m) * last


@cell
def fastgrnn(w, x, h, *, rank=2):
    """FastGRNN with low-rank matrices that both gates share. Kusupati et al. 2018, arXiv:1901.02358."""
    a = w.a(low_rank(x, rank), low_rank(h, rank), bias=False)
    z, n = sigmoid(a + w.bias_z.init(1.0)), tanh(a + w.bias_n.init(1.0))
    zeta, nu = sigmoid(scalar(w.zeta.init(1.0))), sigmoid(scalar(w.nu.init(-4.0)))
    return (zeta * (1 - z) + nu) * n + z * h


@cell
def cornn(w, x, h, z, *, dt=0.042, gamma=2.7, epsilon=4.7):
    """coRNN. Rusch and Mishra 2021, arXiv:2010.00951, equation 3 with explicit damping; their y is h."""
    z = z + dt * (tanh(w.h(x, h, z)) - gamma * h - epsilon * z)
    return h + dt * z, z


@cell
def state_space(w, x, re, im, *, outputs=4):
    """A diagonal complex recurrence as pairs, its output apart from the state. Orvieto et al. 2023 (LRU)."""
    radius, angle = exp(-exp(w.nu.init(-1.0))), exp(w.theta.init(0.5))
    a, b, gamma = radius * cos(angle), radius * sin(angle), sqrt(1 - radius * radius)
    re, im = a * re - b * im + gamma * w.re(x, bias=False), b * re + a * im + gamma * w.im(x, bias=False)
    return w.y(x, r=re, i=im, size=outputs), re, im


@cell
def elapsed(w, x, h, *, dt):
    """A leaky unit that forgets with the time elapsed: dt is one number a step. After Hasani et al. 2022 (CfC)."""
    gone = exp(-scalar(dt) * softplus(w.tau))
    return gone * h + (1 - gone) * tanh(w.h(x, h))


@cell
def dale(w, x, h):
    """Signs per column of the recurrent matrix and a mask without self-connections. Song et al. 2016, five units."""
    sign = np.array([1.0, 1.0, 1.0, 1.0, -1.0])
    allowed = (np.ones((5, 5)) - np.eye(5)) * sign
    return 0.8 * h + 0.2 * relu(w.h(x, mapped(h, lambda W: abs(W) * constant(allowed)))) * constant(np.arange(1.0, 6))


@cell
def focused(w, x, h, memory):
    """Reductions over units in gates: a softmax write, a norm-limited read, a scalar decision."""
    a = w.a(x, h)
    share = softmax(a)
    limit = maximum(norm(memory), 1.0)
    level = sigmoid(dot(w.v, h) + mean(a) + scalar(w.s))
    memory = (1 - share) * memory + share * tanh(w.g(x, h)) * level
    best, power = max(memory), sum(a * a)
    h = tanh(w.o(x, r=memory / limit) + where(memory >= best, 0.5, 0.0) * best)
    return h + 0.1 * power / (1 + power), memory


@cell
def piecewise(w, x, h):
    """Every op with a kink, and those that cells seldom use."""
    a, b = w.a(x, h), w.b(x, h)
    up = maximum(a, 0.3 * b) - minimum(a, sin(b)) + abs(a - b)
    open_ = (a > 0) & (b < 1) | ~(a + b <= 0.5)
    s = where(open_, sqrt(1 + a * a), cos(a)) - stop_gradient(b)
    return tanh(0.3 * relu(up) + 0.2 * s + (1 + b**2) ** -1 - (2 + abs(h)) ** 1.5)


PLAIN = {"simple": simple, "gated": gated, "memory": memory}
STRESS = {
    "rhn": rhn, "lem": lem, "slstm": slstm, "lstmp": lstmp, "ln_lstm": ln_lstm, "antisymmetric": antisymmetric,
    "indrnn": indrnn, "gru_d": gru_d, "fastgrnn": fastgrnn, "cornn": cornn, "state_space": state_space,
    "elapsed": elapsed, "dale": dale, "focused": focused, "piecewise": piecewise,
}  # fmt: skip
CELLS = PLAIN | STRESS
INPUTS = {"gru_d": {"x": 3, "m": 3, "dt": 3}, "elapsed": {"x": 3, "dt": 1}}
UNITS = {"dale": 5}
