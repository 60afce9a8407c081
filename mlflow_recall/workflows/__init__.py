"""One story a file, each reading like a table of contents: reader, core, engine, writer."""
