"""What a check gives: each is a function that returns one `Check` and raises nothing."""

from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
      name: a word or two.
      state: "ok", "warning" (a run works, but not at its best) or "problem" (a run will fail).
      text: what is there.
      remedy: what to do about it; empty when all is well.
    """

    name: str
    state: str
    text: str
    remedy: str = ""
