"""Where export files lie: names, half-written files, and names that lead elsewhere."""

from __future__ import annotations

import os
import stat
from datetime import date
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from mainspring.reports.storage import ExportNotFoundError, ExportStorage, PendingExport, download_url, file_name

if TYPE_CHECKING:
    from pathlib import Path

EXECUTION = UUID("01890000-0000-7000-8000-000000000001")
OTHER = UUID("01890000-0000-7000-8000-000000000002")
NAME = f"quotes_2024-01-30_{EXECUTION}.csv"


@pytest.fixture
def storage(tmp_path: Path) -> ExportStorage:
    return ExportStorage(tmp_path / "data" / "exports")


def begun(storage: ExportStorage, execution: UUID = EXECUTION, fence: int = 1) -> PendingExport:
    storage.prepare(execution, fence)
    return storage.begin(execution, fence)


def published(storage: ExportStorage, content: bytes = b"all of it") -> Path:
    pending = begun(storage)
    pending.file.write(content)
    pending.publish(NAME)
    return storage.folder / NAME


def test_the_name_tells_the_report_the_day_and_the_execution() -> None:
    name = file_name("quotes", date(2024, 1, 30), EXECUTION, "csv")
    assert name == NAME
    assert download_url(name) == f"/api/v1/exports/{NAME}"


class TestWriting:
    def test_a_file_is_not_there_until_it_is_whole(self, storage: ExportStorage) -> None:
        pending = begun(storage)
        pending.file.write(b"half")
        pending.file.flush()
        with pytest.raises(ExportNotFoundError):
            storage.path_of(NAME)
        pending.file.write(b" and half")
        assert pending.publish(NAME) == 13
        assert storage.path_of(NAME).read_bytes() == b"half and half"

    def test_neither_a_hidden_name_nor_any_other_leads_to_a_half_written_file(self, storage: ExportStorage) -> None:
        pending = begun(storage)
        [hidden] = storage.folder.iterdir()
        with pytest.raises(ExportNotFoundError):
            storage.path_of(hidden.name)
        pending.discard()

    def test_a_discarded_file_leaves_nothing(self, storage: ExportStorage) -> None:
        pending = begun(storage)
        pending.file.write(b"half")
        pending.discard()
        assert list(storage.folder.iterdir()) == []

    def test_discarding_after_publishing_keeps_the_file(self, storage: ExportStorage) -> None:
        pending = begun(storage)
        pending.publish(NAME)
        pending.discard()
        assert storage.path_of(NAME).is_file()

    def test_the_bytes_and_the_name_are_durable_before_publish_returns(
        self, storage: ExportStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pending = begun(storage)
        synchronised: list[tuple[bool, bool]] = []  # is it a folder, and is the name there

        def fsync(handle: int) -> None:
            synchronised.append((stat.S_ISDIR(os.fstat(handle).st_mode), (storage.folder / NAME).exists()))

        monkeypatch.setattr(os, "fsync", fsync)
        pending.publish(NAME)
        assert synchronised == [(False, False), (True, True)]

    def test_folder_and_files_are_open_to_the_owner_alone(self, storage: ExportStorage) -> None:
        path = published(storage)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(storage.folder.stat().st_mode) == 0o700


class TestEarlierAttempts:
    def test_what_they_left_half_written_is_removed_when_the_next_one_begins(self, storage: ExportStorage) -> None:
        for fence in (3, 12, 20):
            storage.prepare(EXECUTION, 0)
            storage.begin(EXECUTION, fence).file.close()
        storage.prepare(EXECUTION, 20)
        assert list(storage.folder.iterdir()) == []

    def test_other_executions_newer_attempts_and_finished_files_stay(self, storage: ExportStorage) -> None:
        published(storage)
        storage.begin(EXECUTION, 21).file.close()
        storage.begin(OTHER, 3).file.close()
        (storage.folder / f".{EXECUTION}.notes.part").touch()
        before = sorted(storage.folder.iterdir())
        storage.prepare(EXECUTION, 20)
        assert sorted(storage.folder.iterdir()) == before

    def test_one_that_does_not_know_that_it_lost_its_lease_can_no_longer_publish(self, storage: ExportStorage) -> None:
        lost = begun(storage, fence=1)
        lost.file.write(b"old")
        new = begun(storage, fence=2)
        new.file.write(b"new")
        with pytest.raises(FileNotFoundError):
            lost.publish(NAME)
        new.publish(NAME)
        assert storage.path_of(NAME).read_bytes() == b"new"


class TestReading:
    def test_gives_the_file_by_its_name(self, storage: ExportStorage) -> None:
        published(storage)
        with storage.open(NAME) as file:
            assert file.read() == b"all of it"

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
            "link.csv",
            "linked_folder",
            "~root",
            "missing.csv",
        ],
    )
    def test_refuses_every_name_that_is_not_a_file_of_the_folder_itself(
        self, storage: ExportStorage, tmp_path: Path, name: str
    ) -> None:
        published(storage)
        secret = tmp_path / "data" / "secret.txt"
        secret.write_text("secret")
        beside = tmp_path / "data" / "exports-old"
        beside.mkdir()
        (beside / "secret.txt").write_text("secret")
        (storage.folder / "quotes.csv").write_text("fine")
        (storage.folder / "inner").mkdir()
        (storage.folder / "inner" / "deep.csv").write_text("secret")
        (storage.folder / "link.csv").symlink_to(secret)
        (storage.folder / "linked_folder").symlink_to(beside)
        wanted = name.replace("{folder}", str(storage.folder))
        with pytest.raises(ExportNotFoundError, match="there is no export file"):
            storage.path_of(wanted)
        with pytest.raises(ExportNotFoundError):
            storage.open(wanted)

    def test_follows_a_link_that_the_operator_made_of_the_folder_itself(
        self, storage: ExportStorage, tmp_path: Path
    ) -> None:
        published(storage)
        (tmp_path / "mounted").symlink_to(storage.folder)
        assert ExportStorage(tmp_path / "mounted").path_of(NAME).read_bytes() == b"all of it"

    def test_a_removed_file_is_gone_and_may_be_removed_again(self, storage: ExportStorage) -> None:
        published(storage)
        storage.remove(NAME)
        storage.remove(NAME)
        with pytest.raises(ExportNotFoundError):
            storage.open(NAME)
