"""What plugins provide: the hook specifications, the loading of plugins, and the inventory."""
