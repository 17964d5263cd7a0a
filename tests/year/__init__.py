"""A year of many people's subscriptions, simulated: virtual time, real code, a real PostgreSQL."""
