"""Fixtures that tests of several folders share."""

import signal

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.plugins.control_plane", "tests.plugins.qdrant", "tests.plugins.operator"]

# A shell's background job ignores SIGINT and hands that on to all that it starts, and some tests interrupt that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is not a finding: no test measures time.
settings.register_profile("no-deadline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no-deadline")
