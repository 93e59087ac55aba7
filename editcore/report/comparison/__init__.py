"""The page that compares finished studies."""
