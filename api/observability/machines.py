"""Prometheus metrics of machines, read from their records at each scrape."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import get_args

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ml.machines.alarms import AlarmState
from ml.system.text import printable


class MachineMetrics(Collector):
    """Number of machines in each state, and the machines that are not normal.

    Args:
        states: state of each machine, by machine id; None if the records cannot be read.
    """

    def __init__(self, states: Mapping[str, AlarmState] | None) -> None:
        self._states = states

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return every metric family."""
        readable = GaugeMetricFamily("signalml_machines_readable", "1 while the records of machines can be read.")
        readable.add_metric((), float(self._states is not None))
        yield readable
        if self._states is None:
            return
        machines = GaugeMetricFamily("signalml_machines", "Machines with a record.", labels=("state",))
        counted = Counter(self._states.values())
        for state in get_args(AlarmState):
            machines.add_metric((state,), counted[state])
        yield machines
        notable = GaugeMetricFamily(
            "signalml_machine_notable", "1 for each machine that is not normal.", labels=("machine_id", "state")
        )
        for machine_id, state in self._states.items():
            if state != "normal":
                notable.add_metric((printable(machine_id), state), 1)
        yield notable
