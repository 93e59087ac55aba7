"""From a study to its jobs. The only room that knows where results are stored."""
