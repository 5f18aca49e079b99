"""A sale tried before it happens: a crowd in virtual time before the pure ledger, and what an outsider measures of it.

Seeded, without clock or network. What admits is the product's own: the ledger, the places, the times at which pages look.
"""
