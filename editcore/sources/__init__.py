"""Where models and data come from: GGUF files, files in wheels, of the hub and of web servers."""
