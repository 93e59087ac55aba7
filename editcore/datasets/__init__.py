"""Files of facts, texts and tasks, into requests and back. The bundled files are found here."""
