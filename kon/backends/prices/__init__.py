"""What AWS charges, from one dated file, and what requests cost by it."""

from kon.backends.prices.prices import FILE, Prices, Provisioned, cost_of_requests, usual_prices

__all__ = ["FILE", "Prices", "Provisioned", "cost_of_requests", "usual_prices"]
