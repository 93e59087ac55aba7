"""The documentation as a site: which pages it has, how they are made, and Sphinx's settings."""
