"""The one exception a user reads: what is wrong, the value, what to do."""


class CNSError(ValueError):
    """A mistake a user can mend. Its message is one complete sentence, shown by the editor as it stands."""
