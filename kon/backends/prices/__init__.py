"""What AWS charges, from one dated file, and what requests cost by it."""

from kon.backends.prices.cost import Provisioned, cost_of_requests
from kon.backends.prices.prices import FILE, Prices, usual_prices

__all__ = ["FILE", "Prices", "Provisioned", "cost_of_requests", "usual_prices"]
