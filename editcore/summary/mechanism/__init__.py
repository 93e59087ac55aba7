"""The tables on why edits collapse models, joined over models and with the edits."""
