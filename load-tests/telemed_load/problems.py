"""What keeps a load from being run, or its result from being worth anything; each told in one sentence."""


class LoadProblem(Exception):
    """The load cannot be run, or its data set not be made; the message is the one sentence that the operator sees."""
