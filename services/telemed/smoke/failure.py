"""Why a run ends early."""


class Failure(Exception):
    """The platform did not do what it promises; the message is the one sentence that the operator sees."""


class Stopped(Exception):
    """The run was told to stop, or its time is up; what it made is taken back all the same."""
