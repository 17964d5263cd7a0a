"""Makes the shared fixtures known to every test."""

pytest_plugins = ["tests.support.ways", "tests.support.servers", "tests.support.attack_table", "tests.support.figures"]
