"""The one exception a user reads: what is wrong, the value, what to do; and what others raise, in brief."""


class CNSError(ValueError):
    """A mistake a user can fix. Its message is one complete sentence, shown by the editor as it stands."""


def brief(error: Exception) -> str:
    """Kind and first line of a library's error, without a full stop: some messages are pages long."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first[:200]}".rstrip(": .")
