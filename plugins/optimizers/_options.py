"""What the options of optimizers must be; an update tells before it computes."""

__all__ = ["fractions", "not_negative"]


def fractions(**options: float) -> None:
    """Raise `ValueError` unless all are at least 0 and below 1."""
    for name, value in options.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, got {value!r}")


def not_negative(**options: float) -> None:
    """Raise `ValueError` if one is below 0."""
    for name, value in options.items():
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0, got {value!r}")
