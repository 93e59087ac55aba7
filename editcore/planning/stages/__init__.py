"""The stages after the edits: their jobs, and how a study is split into them."""
