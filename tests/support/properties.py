"""Settings of property tests."""

from hypothesis import HealthCheck, settings


def checked(examples):
    """Settings for so many examples: nothing is kept in files, and a slow machine is no failure.

    What fixtures give serves for all examples of a test, which leave it as they have found it.
    """
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
        ],
    )
