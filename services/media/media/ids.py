"""What the ids of sessions and jobs look like."""

UUID_SHAPE = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
"""Any version and variant digit: ids of the catalogue have impossible ones."""
