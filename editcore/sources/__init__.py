"""Where models come from besides folders and the hub: GGUF files, and files in wheels."""
