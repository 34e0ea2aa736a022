"""Shared by the tests of the report: results that take seconds to make."""

import pytest

from tests.report import report_data


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """(folder of results, {image: path}); to be copied by tests that change them."""
    folder = tmp_path_factory.mktemp("made")
    originals = report_data.write_originals(folder / "images")
    return report_data.write_results(folder / "results", originals), originals
