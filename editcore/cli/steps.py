"""How commands that take a while report their steps."""

import click


def say(step: str) -> None:
    """One step of the work, on the error stream."""
    click.echo(f"· {step}", err=True)
