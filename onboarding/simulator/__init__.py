"""A Deel that fits in a test: its API, its limits, its webhooks, its failures, on a port of this machine."""

from onboarding.simulator.ledger import Call, Ledger
from onboarding.simulator.policy import Policy
from onboarding.simulator.simulator import Simulator
from onboarding.simulator.sink import Received, Sink
from onboarding.simulator.webhooks import Webhook

__all__ = ["Call", "Ledger", "Policy", "Received", "Simulator", "Sink", "Webhook"]
