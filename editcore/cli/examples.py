"""Examples at the end of a command's help."""

# click keeps the line breaks of a paragraph that opens with this character.
KEEP_LINES = "\b"


def examples(*lines: str) -> str:
    """The epilog of a command's help: each line an example to paste, or the rest of one."""
    return "\n".join([KEEP_LINES, "Examples:", *(f"  {line}" for line in lines)])
