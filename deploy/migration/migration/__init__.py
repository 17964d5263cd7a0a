"""The prototype's SQLite file, moved into the services' schemas with a certificate that nothing is missing."""
