"""What is broken, by what it is: importing this puts every scenario on the list."""

from tests.chaos.plays import clocks, deel, deploys, hris, model, network, points, poison, servers

__all__ = ["clocks", "deel", "deploys", "hris", "model", "network", "points", "poison", "servers"]
