"""The one kind of error that a user can mend."""


class InputError(ValueError):
    """What was given cannot be used: the message is one line that says what is wrong and what to do.

    The command line prints the message alone and exits with code 2.
    """
