"""Deel White Label onboarding: the domain. It knows neither Celery nor a web framework."""

__version__ = "0.1.0"
