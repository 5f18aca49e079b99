"""Valkey or Redis (6.2 and later): one script per operation, each with the store's own clock and safe to repeat."""
