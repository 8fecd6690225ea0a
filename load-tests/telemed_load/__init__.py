"""Open-model load tests: people come when they come, and every wait counts from when they came.

Everything here is plain Python that can be tested without a load, except `generator.py`, `stage.py` and `wire.py`:
those run inside Locust's process, whose gevent changes the standard library. Nothing else may import them.
"""
