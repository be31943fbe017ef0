"""Where export files lie: a folder or object storage, half-written files, and names that lead elsewhere."""

from __future__ import annotations

import os
import stat
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import obstore
import pytest
from obstore.store import LocalStore, MemoryStore

from mainspring.errors import ConfigurationError
from mainspring.reports import storage as storage_module
from mainspring.reports.local_storage import LocalStorage
from mainspring.reports.object_storage import ObjectStorage, open_bucket
from mainspring.reports.storage import (
    ExportNotFoundError,
    ExportStorage,
    ExportSupersededError,
    PendingExport,
    StoredExport,
    download_url,
    file_name,
    open_storage,
)

if TYPE_CHECKING:
    from collections.abc import Callable

EXECUTION = UUID("01890000-0000-7000-8000-000000000001")
OTHER = UUID("01890000-0000-7000-8000-000000000002")
LINK = f"link_2024-01-30_{EXECUTION}.csv"
NAME = f"quotes_2024-01-30_{EXECUTION}.csv"
LATER = datetime.now(UTC) + timedelta(days=1)  # noqa: TID251 - the clock of the file system
LONG_AGO = LATER - timedelta(days=1000)


@pytest.fixture
def local(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "data" / "exports")


def in_memory(folder: Path) -> ObjectStorage:
    return ObjectStorage(MemoryStore(), scratch=folder)


def in_bucket(folder: Path) -> ObjectStorage:
    (folder / "bucket").mkdir()
    return ObjectStorage(LocalStore(folder / "bucket"), scratch=folder)


def in_s3(folder: Path) -> ObjectStorage:
    """Below a prefix of its own in the bucket that `./dev prove object-storage` names."""
    return ObjectStorage(open_bucket(f"{os.environ['EXPORTS_BUCKET']}/{folder.name}"), scratch=folder)


def in_folder(folder: Path) -> LocalStorage:
    return LocalStorage(folder / "exports")


@pytest.fixture(params=[in_folder, in_memory, in_bucket, *([in_s3] if "EXPORTS_BUCKET" in os.environ else [])])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> ExportStorage:
    make: Callable[[Path], ExportStorage] = request.param
    return make(tmp_path)


def begun(storage: ExportStorage, execution: UUID = EXECUTION, fence: int = 1) -> PendingExport:
    storage.prepare(execution, fence)
    return storage.begin(execution, fence)


def publish(storage: ExportStorage, content: bytes = b"all of it", execution: UUID = EXECUTION) -> str:
    pending = begun(storage, execution)
    pending.file.write(content)
    name = NAME.replace(str(EXECUTION), str(execution))
    pending.publish(name)
    pending.discard()
    return name


def content_of(storage: ExportStorage, name: str = NAME, first: int = 0, last: int | None = None) -> bytes:
    stored = storage.find(name)
    try:
        return b"".join(stored.read(first, stored.size - 1 if last is None else last))
    finally:
        stored.close()


def facts_of(storage: ExportStorage, name: str = NAME) -> StoredExport:
    stored = storage.find(name)
    stored.close()
    return stored


def is_there(storage: ExportStorage, name: str = NAME) -> bool:
    try:
        storage.find(name).close()
    except ExportNotFoundError:
        return False
    return True


def test_the_name_tells_the_report_the_day_and_the_execution() -> None:
    name = file_name("quotes", date(2024, 1, 30), EXECUTION, "csv")
    assert name == NAME
    assert download_url(name) == f"/api/v1/exports/{NAME}"


def nothing_is_installed(package: str) -> None:
    """Find no package."""


class TestWriting:
    def test_a_file_is_not_there_until_it_is_whole(self, storage: ExportStorage) -> None:
        pending = begun(storage)
        pending.file.write(b"half")
        pending.file.flush()
        assert not is_there(storage)
        pending.file.write(b" and half")
        assert pending.publish(NAME) == 13
        assert content_of(storage) == b"half and half"
        pending.discard()

    def test_a_discarded_file_leaves_nothing(self, storage: ExportStorage) -> None:
        pending = begun(storage)
        pending.file.write(b"half")
        pending.discard()
        assert (is_there(storage), storage.remove_older(exports=LATER, leftovers=LATER)) == (False, 0)

    def test_discarding_after_publishing_keeps_the_file_and_nothing_else(self, storage: ExportStorage) -> None:
        publish(storage)
        assert is_there(storage)
        assert storage.remove_older(exports=LONG_AGO, leftovers=LATER) == 0

    def test_a_large_file_arrives_whole(self, storage: ExportStorage) -> None:
        content = os.urandom(1024) * (12 * 1024)  # noqa: TID251 - more than one part of an upload
        publish(storage, content)
        assert content_of(storage) == content


class TestEarlierAttempts:
    def test_what_they_left_half_written_is_removed_when_the_next_one_begins(self, storage: ExportStorage) -> None:
        for fence in (3, 12, 20):
            storage.prepare(EXECUTION, 0)
            storage.begin(EXECUTION, fence).file.close()
        storage.prepare(EXECUTION, 20)
        assert storage.remove_older(exports=LATER, leftovers=LATER) == 0

    def test_other_executions_newer_attempts_and_finished_files_stay(self, storage: ExportStorage) -> None:
        publish(storage)
        storage.begin(EXECUTION, 21).file.close()
        storage.begin(OTHER, 3).file.close()
        storage.prepare(EXECUTION, 20)
        assert is_there(storage)
        assert storage.remove_older(exports=LONG_AGO, leftovers=LATER) == 2

    def test_one_that_does_not_know_that_it_lost_its_lease_can_no_longer_publish(self, storage: ExportStorage) -> None:
        lost = begun(storage, fence=1)
        lost.file.write(b"old")
        new = begun(storage, fence=2)
        new.file.write(b"new")
        with pytest.raises(ExportSupersededError, match="a newer attempt"):
            lost.publish(NAME)
        lost.discard()
        new.publish(NAME)
        new.discard()
        assert content_of(storage) == b"new"


class TestReading:
    def test_gives_the_file_by_its_name_or_a_part_of_it(self, storage: ExportStorage) -> None:
        publish(storage)
        assert content_of(storage) == b"all of it"
        assert content_of(storage, first=4, last=5) == b"of"
        assert len(content_of(storage)) == facts_of(storage).size == 9

    def test_has_another_etag_once_its_bytes_change(self, storage: ExportStorage) -> None:
        publish(storage, b"1")
        first, again = facts_of(storage), facts_of(storage)
        publish(storage, b"2")
        changed = facts_of(storage)
        for stored in (first, again, changed):
            assert stored.etag[0] == stored.etag[-1] == '"'
        assert first.etag == again.etag != changed.etag

    @pytest.mark.parametrize(
        "name", ["", ".", "..", ".parts", f"../{NAME}", f"./{NAME}", NAME.upper(), f"{NAME}.", f"{NAME}\n"]
    )
    def test_refuses_every_name_but_that_of_a_finished_file(self, storage: ExportStorage, name: str) -> None:
        publish(storage)
        with pytest.raises(ExportNotFoundError, match="there is no export file"):
            storage.find(name)

    def test_a_removed_file_is_gone_and_may_be_removed_again(self, storage: ExportStorage) -> None:
        publish(storage)
        storage.remove(NAME)
        storage.remove(NAME)
        storage.remove("../elsewhere")
        assert not is_there(storage)


class TestExpiring:
    def test_removes_what_is_older_than_it_may_be_and_nothing_else(self, storage: ExportStorage) -> None:
        publish(storage)
        other = publish(storage, execution=OTHER)
        storage.begin(OTHER, 7).file.close()
        assert storage.remove_older(exports=LONG_AGO, leftovers=LONG_AGO) == 0
        assert storage.remove_older(exports=LONG_AGO, leftovers=LATER) == 1
        assert (is_there(storage), is_there(storage, other)) == (True, True)
        assert storage.remove_older(exports=LATER, leftovers=LONG_AGO) == 2
        assert not is_there(storage)
        assert storage.remove_older(exports=LATER, leftovers=LATER) == 0

    def test_of_a_folder_that_was_never_made_finds_nothing(self, local: LocalStorage) -> None:
        assert local.remove_older(exports=LATER, leftovers=LATER) == 0
        assert not local.folder.exists()

    def test_leaves_files_that_are_no_exports_alone(self, local: LocalStorage) -> None:
        local.prepare(EXECUTION, 1)
        strangers = ["notes.csv", ".profile", f".{EXECUTION}.notes.part", "quotes_2024-01-30.csv", ".other.part"]
        for name in strangers:
            (local.folder / name).touch()
        (local.folder / ".mainspring-ab1_.part").mkdir()
        (local.folder / ".mainspring-ab1_.part" / "sheet1.xml").touch()
        assert local.remove_older(exports=LATER, leftovers=LATER) == 1
        assert sorted(path.name for path in local.folder.iterdir()) == sorted(strangers)

    def test_goes_by_the_time_of_each_file(self, local: LocalStorage) -> None:
        old, new = publish(local), publish(local, execution=OTHER)
        eight_days_ago = (LATER - timedelta(days=9)).timestamp()
        os.utime(local.folder / old, (eight_days_ago, eight_days_ago))
        assert facts_of(local, old).modified_at < LATER - timedelta(days=8)
        assert local.remove_older(exports=LATER - timedelta(days=8), leftovers=LATER) == 1
        assert (is_there(local, old), is_there(local, new)) == (False, True)


class TestLocalStorage:
    def test_the_bytes_and_the_name_are_durable_before_publish_returns(
        self, local: LocalStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pending = begun(local)
        synchronised: list[tuple[bool, bool]] = []  # is it a folder, and is the name there

        def fsync(handle: int) -> None:
            synchronised.append((stat.S_ISDIR(os.fstat(handle).st_mode), (local.folder / NAME).exists()))

        monkeypatch.setattr(os, "fsync", fsync)
        pending.publish(NAME)
        assert synchronised == [(False, False), (True, True)]

    def test_folder_and_files_are_open_to_the_owner_alone(self, local: LocalStorage) -> None:
        path = local.folder / publish(local)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(local.folder.stat().st_mode) == 0o700

    def test_a_hidden_name_leads_to_no_half_written_file(self, local: LocalStorage) -> None:
        pending = begun(local)
        [hidden] = local.folder.iterdir()
        assert not is_there(local, hidden.name)
        pending.discard()

    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "..",
            "../secret.txt",
            "..\\secret.txt",
            "%2e%2e/secret.txt",
            "....//secret.txt",
            "exports/../../secret.txt",
            "../exports-old/secret.txt",
            "{folder}/../secret.txt",
            "secret.txt\x00.csv",
            "quotes.csv\n",
            "inner",
            "inner/deep.csv",
            LINK,
            "linked_folder",
            "~root",
            "missing.csv",
        ],
    )
    def test_refuses_every_name_that_is_not_a_file_of_the_folder_itself(
        self, local: LocalStorage, tmp_path: Path, name: str
    ) -> None:
        publish(local)
        secret = tmp_path / "data" / "secret.txt"
        secret.write_text("secret")
        beside = tmp_path / "data" / "exports-old"
        beside.mkdir()
        (beside / "secret.txt").write_text("secret")
        (local.folder / "quotes.csv").write_text("fine")
        (local.folder / "inner").mkdir()
        (local.folder / "inner" / "deep.csv").write_text("secret")
        (local.folder / LINK).symlink_to(secret)
        (local.folder / "linked_folder").symlink_to(beside)
        wanted = name.replace("{folder}", str(local.folder))
        with pytest.raises(ExportNotFoundError, match="there is no export file"):
            local.find(wanted)

    def test_follows_a_link_that_the_operator_made_of_the_folder_itself(
        self, local: LocalStorage, tmp_path: Path
    ) -> None:
        publish(local)
        (tmp_path / "mounted").symlink_to(local.folder)
        assert content_of(LocalStorage(tmp_path / "mounted")) == b"all of it"


class TestOpenStorage:
    def test_a_path_is_a_local_folder(self, tmp_path: Path) -> None:
        opened = open_storage(str(tmp_path))
        assert isinstance(opened, LocalStorage)
        assert opened.folder == tmp_path

    @pytest.mark.parametrize("address", ["memory:///", "s3://exports/prefix", "gs://exports"])
    def test_an_address_is_object_storage(self, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        assert isinstance(open_storage(address), ObjectStorage)

    def test_an_address_of_no_known_kind_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"MAINSPRING_EXPORT_DIR: ftp://exports cannot be opened"):
            open_storage("ftp://exports")

    def test_says_how_to_get_the_package_that_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(storage_module, "find_spec", nothing_is_installed)
        with pytest.raises(ConfigurationError, match=r"pip install 'mainspring\[objects\]'"):
            open_storage("s3://exports")

    def test_what_lies_in_a_bucket_is_the_file_alone(self) -> None:
        bucket = MemoryStore()
        publish(ObjectStorage(bucket, scratch=Path("/tmp")))  # noqa: S108
        assert [found["path"] for found in obstore.list(bucket, return_arrow=False).collect()] == [NAME]  # pyright: ignore[reportUnknownMemberType]
