"""An edit in the formats that other programs serve, each proved to be the edited model."""
