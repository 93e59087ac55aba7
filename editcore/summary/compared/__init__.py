"""What differs between finished studies: their settings, and what became of the same cases."""
