"""The fast data plane: HTTP/1.1 on both sides, from bytes to bytes, inside uvicorn's processes and sockets.

The life of a request through these modules::

    protocol   one visitor connection: collects a head, keeps its deadlines, answers pipelined requests in order
    parser     the head's bytes, read strictly -> Head, or a refusal
    plan       what is known beforehand: which rules a request line matches, which passes have been verified
    exchange   one request and its answer: body up, body down, back-pressure both ways
    origin     the pool of origin connections, and the reader of what they answer
    tunnel     after a 101: bytes both ways until the pass is over
    handover   the gate's own endpoints, as ASGI

Whatever the fast path decides, :func:`gate.core.decide.decide` would have decided; a property test holds the two together.
"""
