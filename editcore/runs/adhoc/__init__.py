"""One model and one editor outside a study: check, guard, and the generator of hard cases."""
