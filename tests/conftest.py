"""What every test may rely on: no telemetry, and the real data where it is."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

# how slowly inputs are drawn says how busy the machine is, and nothing about the code
settings.register_profile("here", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("here")

REAL = Path(os.environ.get("FL_EF21_DATA", Path(__file__).resolve().parent.parent.parent / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts whole programs comes first: it mostly waits, and another worker then has the rest meanwhile."""
    items.sort(key=lambda item: item.get_closest_marker("system") is None)


@pytest.fixture
def mnist() -> Path:
    """The folder of MNIST's four idx files."""
    if not (REAL / "mnist").is_dir():
        pytest.skip(f"no MNIST files under {REAL}; set FL_EF21_DATA")
    return REAL / "mnist"
