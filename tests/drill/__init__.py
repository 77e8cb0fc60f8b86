"""A rolling upgrade under load: ``python -m tests.drill``."""
