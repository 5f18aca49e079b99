"""The commands of ``gate``, one module each; every module has ``register(app)``."""
