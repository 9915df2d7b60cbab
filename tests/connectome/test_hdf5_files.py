"""HDF5 files that lead out of themselves, or declare what they do not hold, are refused before anything is read."""

import numpy as np
import pytest

from connectofit.connectome.errors import MissingFileError, SchemaError
from connectofit.connectome.hdf5_files import hdf5_file, read_dataset

h5py = pytest.importorskip("h5py", reason="h5py is not installed")


def opened(path):
    with hdf5_file(path, "sonata", "Reading") as file:
        return sorted(file)


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "secret.txt").write_bytes(b"secrets!" * 4)
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.arange(3.0)
    return tmp_path


def test_links_inside_of_a_file_are_fine_even_in_circles_and_to_nowhere(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["g/x"] = np.arange(3)
        file["y"] = h5py.SoftLink("/g/x")
        file["nowhere"] = h5py.SoftLink("/not/there")
        file["g/up"] = file["/"]  # a hard link back to the start
        file["same"] = file["g/x"]
    assert opened(tmp_path / "a.h5") == ["g", "nowhere", "same", "y"]


def test_external_links_are_refused_wherever_they_are(secret):
    with h5py.File(secret / "a.h5", "w") as file:
        file["deep/down/x"] = h5py.ExternalLink(str(secret / "secret.h5"), "/x")
    with pytest.raises(SchemaError, match=r"points to other files.*/deep/down/x: links to '.*secret\.h5'"):
        opened(secret / "a.h5")


def test_external_storage_is_refused(secret):
    with h5py.File(secret / "a.h5", "w") as file:
        file.create_dataset("x", (4,), "f8", external=[(str(secret / "secret.txt"), 0, 32)])
    with pytest.raises(SchemaError, match=r"/x: its data are in '.*secret\.txt'"):
        opened(secret / "a.h5")


def test_virtual_datasets_are_refused(secret):
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(secret / "secret.h5"), "x", (3,))
    with h5py.File(secret / "a.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
    with pytest.raises(SchemaError, match="/x: it is put together from other datasets"):
        opened(secret / "a.h5")


def test_all_that_lead_out_are_counted(secret):
    with h5py.File(secret / "a.h5", "w") as file:
        for k in range(7):
            file[f"x{k}"] = h5py.ExternalLink("secret.h5", "/x")
    with pytest.raises(SchemaError, match=r"\(7 in all\)"):
        opened(secret / "a.h5")


def test_attributes_as_large_as_data_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file.create_group("g").attrs["big"] = np.zeros(3_000_000)
    with pytest.raises(SchemaError, match="big of /g: 24,000,000 bytes"):
        opened(tmp_path / "a.h5")


def test_a_dataset_far_larger_than_its_file_is_not_read(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("none", (10**12,), "f8", chunks=(1000,))
        file.create_dataset("zeros", data=np.zeros(100_000), compression="gzip", chunks=(100_000,))
    with hdf5_file(tmp_path / "a.h5", "sonata", "Reading") as file:
        with pytest.raises(SchemaError, match="8,000,000,000,000 bytes, and the file stores 0"):
            read_dataset(file["none"], "a.h5")
        assert read_dataset(file["zeros"], "a.h5").sum() == 0


def test_damaged_and_other_files_are_refused(tmp_path):
    with pytest.raises(MissingFileError):
        opened(tmp_path / "nowhere.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["g/x"] = np.arange(1000.0)
    whole = (tmp_path / "a.h5").read_bytes()
    for content in (b"", b"no HDF5", whole[:1000], whole[:600] + bytes(600) + whole[1200:]):
        (tmp_path / "b.h5").write_bytes(content)
        with pytest.raises(SchemaError, match=r"no HDF5 file|damaged"):
            opened(tmp_path / "b.h5")
