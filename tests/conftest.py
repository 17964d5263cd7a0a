"""Makes the shared fixtures known to every test."""

pytest_plugins = ["tests.support.servers", "tests.support.attack_table", "tests.support.figures"]
