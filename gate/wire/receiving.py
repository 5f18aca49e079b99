"""The body of a request: handed on, held back, or thrown away."""

from typing import Final

from gate.core.facts import Refusal
from gate.core.words import Reason
from gate.wire.answering import CLOSED, DRAIN, DRAIN_BYTES, DRAIN_SECONDS, Answering, Job
from gate.wire.deadlines import NEVER
from gate.wire.framing import BadFraming
from gate.wire.heads import CONTINUE

HIGH_WATER: Final = 64 << 10  # bytes read ahead, or waiting to be written, before the other side is paused
BODY_WINDOW: Final = 10.0  # seconds over which the minimum rate of a body is measured


class Receiving(Answering):
    """The part of a visitor's connection that reads bodies."""

    __slots__ = ("_mark", "_stopped")

    _mark: int  # bytes of the body when its pace was last looked at
    _stopped: bool  # nothing more is read for now

    def take(self, job: Job) -> None:
        """``job`` serves the current request from here on, and gets its body."""
        self.job = job
        if self._upload is not None:
            if self._ahead:
                ahead, self._ahead = self._ahead, b""
                self._feed(ahead)
            elif self.head.common.expects:
                self.transport.write(CONTINUE)
            if self._upload is not None:
                self._time_body()
        self._flow()

    def _time_body(self) -> None:
        """Its clock runs, unless the answer has begun and the visitor takes no more of it: then that is what is timed."""
        if not self._paused:
            self.door.wheel.watch(self, BODY_WINDOW)

    def _feed(self, data: bytes) -> None:
        upload, job = self._upload, self.job
        if upload is None or job is None:
            self._ahead += data
            return
        try:
            payload = upload.feed(data)
        except BadFraming as error:
            self.refuse(Refusal(400, Reason.MALFORMED, str(error)), self.head)
            return
        self._received += len(data)
        ended = upload.done
        if ended:
            self._ahead = upload.rest
            self._upload = None
            if not self._paused:
                self.due = NEVER
        if payload or ended:
            job.body(payload, ended)
        self._flow()

    def _check_pace(self) -> None:
        least = self.door.visitors.body_rate * self.door.origin.uploads.haste(self.job)
        if self._received - self._mark < least * BODY_WINDOW:
            self.refuse(Refusal(408, Reason.MALFORMED, "the body came too slowly"), self.head)
        else:
            self._mark = self._received
            self.door.wheel.watch(self, BODY_WINDOW)

    def hold_upload(self, held: bool) -> None:
        """The origin takes no more of the body for now; or it does again."""
        self._upload_held = held
        self._mark = self._received
        if not held and self._upload is not None:
            self._time_body()
        self._flow()

    def _flow(self) -> None:
        stop = (self._upload_held and self._upload is not None) or len(self._ahead) > HIGH_WATER
        if stop != self._stopped and self._state != CLOSED:
            self._stopped = stop
            if stop:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def _drain(self, data: bytes) -> None:
        upload = self._upload
        assert upload is not None  # noqa: S101 - DRAIN means that there is a rest
        self._received += len(data)
        try:
            upload.feed(data)
        except BadFraming:
            self._close()
            return
        if upload.done:
            self._ahead, self._upload = upload.rest, None
            self._next()
        elif self._received > DRAIN_BYTES:
            self._close()

    def _drain_rest(self) -> None:
        self._state = DRAIN
        self._received = 0
        self.door.wheel.watch(self, DRAIN_SECONDS)
        ahead, self._ahead = self._ahead, b""
        self._flow()
        if ahead:
            self._drain(ahead)
