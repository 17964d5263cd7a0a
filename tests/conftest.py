"""Makes the shared fixtures known to every test."""

pytest_plugins = [
    "tests.support.attack_table",
    "tests.support.examples",
    "tests.support.figures",
    "tests.support.migrating",
    "tests.support.own_logging",
    "tests.support.ports",
    "tests.support.ways",
    "tests.support.servers",
]
