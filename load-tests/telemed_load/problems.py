"""What keeps a load from being run, or its result from being worth anything; each told in one sentence."""


class LoadProblem(Exception):
    """The load cannot be run; the message is the one sentence that the performance engineer sees. Exit code 2."""
