"""A small real shop, a crowd for it, and the config that puts the gate in front: what ``gate demo`` runs."""
