"""Stacked layers."""

from rnncore.combine import chain, topology


@topology
def deep(*layers, dropout=0.0, residual=False):
    """Stacked recurrent layers: each reads the sequence that the one below gives. Schmidhuber 1992; Graves 2013.

    Options
    -------
    dropout : float in [0, 1)
        Dropped between layers while training (Zaremba et al. 2014).
    residual : bool
        Every layer but the first adds its input to its output (Wu et al. 2016).
    """
    return chain(*layers, dropout=dropout, residual=residual)
