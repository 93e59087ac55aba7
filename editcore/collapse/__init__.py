"""Whether an edit collapses a model: the verdict, and the prediction made before the edit."""
