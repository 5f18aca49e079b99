"""The pure part: every choice the gate makes, with no clock, no randomness, no I/O and no await.

``now`` and ``rng`` are arguments; the store's answers come in as :class:`~gate.core.decision.Told`. Everything here can
be called from a test with plain values. The rest of the package carries bytes for it.
"""
