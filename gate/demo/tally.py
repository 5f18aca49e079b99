"""What a simulated crowd has lived through, in numbers."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from rich.table import Table


class State(StrEnum):
    """Where a visitor is; the last four are ends."""

    COMING = "coming"
    BROWSING = "browsing"
    WAITING = "waiting"
    INSIDE = "inside"
    BOUGHT = "bought"
    SOLD_OUT = "sold out"
    GAVE_UP = "gave up"
    FAILED = "failed"


@dataclass(slots=True)
class Tally:
    """What the crowd has lived through. ``states`` counts visitors; ``entered`` those who ever got through the door."""

    states: Counter[State] = field(default_factory=Counter)
    entered: int = 0
    requests: int = 0
    waits: list[float] = field(default_factory=list)  # seconds each visitor stood in line, of those who entered
    problems: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        states = ", ".join(f"{state} {self.states[state]}" for state in State if self.states[state])
        return f"{states}; entered {self.entered}, requests {self.requests}, problems {self.problems.total()}"

    def table(self) -> Table:
        table = Table(title="The crowd", title_justify="left", show_header=False)
        for state in State:
            table.add_row(state.value, str(self.states[state]))
        table.add_row("entered", str(self.entered), style="bold")
        table.add_row("requests", str(self.requests))
        for problem, count in self.problems.most_common(5):
            table.add_row(problem, str(count), style="red")
        return table
