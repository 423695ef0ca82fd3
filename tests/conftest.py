"""What every test may ask for."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data():
    """The folder of real pairs and sequences; the test is skipped where it is not at hand."""
    folder = Path(os.environ.get("CROTALUS_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; set CROTALUS_DATA to a folder with tno/ and video/")
    return folder
