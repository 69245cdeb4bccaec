"""A file of prices, read as experiments are: what is wrong is said with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from kon.backends.prices import FILE, Prices
from kon.core.errors import ConfigurationError
from kon.experiment.models import checked
from kon.experiment.yamltree import plain


def read_prices(path: Path = FILE) -> Prices:
    """Raises ConfigurationError with the place of what is wrong."""
    given: Any = plain(checked(path, Prices))
    prices = msgspec.convert(given, Prices)
    if prices.currency != "USD":
        raise ConfigurationError(f'{path}: currency: expected "USD", found "{prices.currency}"')
    return prices
