"""A complete response made by the gate itself."""

from dataclasses import dataclass

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """``headers`` have lower-case names and never hold framing fields: the wire frames what it sends."""

    status: int
    headers: Fields = ()
    body: bytes = b""

    def plus(self, *more: tuple[bytes, bytes]) -> "Answer":
        return Answer(self.status, self.headers + more, self.body)
