"""Examples of properties are the same in every run, so that what a change breaks is the change's.

`pytest --hypothesis-profile=default` looks for new ones.
"""

from hypothesis import settings

settings.register_profile("the same", derandomize=True, database=None)
settings.load_profile("the same")
