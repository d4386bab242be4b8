import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.errors import ShardError
from rankfold.nbest.coverage import UnitReader, is_complete
from rankfold.nbest.units import Fingerprint, Unit, plan_units, units_of_shard, write_unit

UNITS = plan_units(100, 32)
FINGERPRINT = Fingerprint.of({"model": "m1", "max_length": 384})
AGAIN = "Run `launch resume RUN`: only what is missing is computed."
DELETE = "Delete the manifests named above, then run `launch resume RUN`: only what is missing is computed."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all units, whole."""
    for unit in UNITS:
        write_unit(tmp_path, unit, payload_of(unit), FINGERPRINT, unit.stop - unit.start)
    return tmp_path


def payload_of(unit: Unit) -> bytes:
    return f"records of unit {unit.index}".encode()


def read_units(source: Path | list[Path], units: list[Unit]) -> list[bytes]:
    return list(UnitReader(source, units, FINGERPRINT).payloads(units))


def manifest(folder: Path, index: int) -> Path:
    return folder / f"unit-{index:05d}.json"


def payload_file(folder: Path, index: int) -> Path:
    return folder / str(json.loads(manifest(folder, index).read_text())["payload"])


def change_manifest(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def diagnosis(source: Path | list[Path]) -> list[str]:
    """The problems that reading the units reports, one a line."""
    with pytest.raises(ShardError) as caught:
        read_units(source, UNITS)
    head, *problems = caught.value.message.split("\n  - ")
    assert head == f"{len(problems)} problem{'s' * (len(problems) > 1)} in the work units"
    return problems


def test_units_cover_all_items_once() -> None:
    assert plan_units(100, 32) == [Unit(0, 0, 32), Unit(1, 32, 64), Unit(2, 64, 96), Unit(3, 96, 100)]
    assert plan_units(0, 32) == []


@pytest.mark.parametrize(("num_items", "unit_size"), [(-1, 3), (3, 0)])
def test_impossible_plans_are_refused(num_items: int, unit_size: int) -> None:
    with pytest.raises(ValueError, match=f"cannot divide {num_items} items into units of {unit_size}"):
        plan_units(num_items, unit_size)


@given(st.integers(0, 500), st.integers(1, 60), st.integers(1, 70))
def test_each_unit_belongs_to_one_shard(num_items: int, unit_size: int, num_shards: int) -> None:
    units = plan_units(num_items, unit_size)
    shards = [units_of_shard(units, shard, num_shards) for shard in range(num_shards)]
    assert sorted(unit for shard in shards for unit in shard) == units
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize("shard", [-1, 2])
def test_a_shard_that_does_not_exist_is_refused(shard: int) -> None:
    with pytest.raises(ValueError, match=f"shard {shard} is not one of 2: 0 to 1"):
        units_of_shard(UNITS, shard, 2)


def test_a_fingerprint_does_not_depend_on_the_order_of_its_fields() -> None:
    other = Fingerprint.of({"max_length": 384, "model": "m1"})
    assert (other, other.digest) == (FINGERPRINT, FINGERPRINT.digest)


def test_a_fingerprint_tells_a_number_from_its_text() -> None:
    other = Fingerprint.of({"max_length": "384", "model": "m1"})
    assert other.digest != FINGERPRINT.digest
    assert FINGERPRINT.differences(other) == ["max_length is '384', expected 384"]


def test_a_written_unit_has_a_manifest_that_describes_it(folder: Path) -> None:
    sha256 = hashlib.sha256(b"records of unit 3").hexdigest()
    assert json.loads(manifest(folder, 3).read_text()) == {
        "unit": {"index": 3, "start": 96, "stop": 100},
        "payload": f"unit-00003.{sha256[:12]}.bin",
        "num_bytes": 17,
        "sha256": sha256,
        "num_rows": 4,
        "fingerprint": {"max_length": 384, "model": "m1"},
    }


def test_units_come_back_in_order_whatever_their_manifests_are_called(folder: Path) -> None:
    manifest(folder, 0).rename(folder / "zzz.json")
    manifest(folder, 3).rename(folder / "a.json")
    assert read_units(folder, UNITS) == [payload_of(unit) for unit in UNITS]


def test_units_can_be_gathered_from_several_folders(tmp_path: Path) -> None:
    for unit in UNITS:
        write_unit(tmp_path / f"rank{unit.index % 2}", unit, payload_of(unit), FINGERPRINT, 1)
    found = read_units(sorted(tmp_path.glob("*/*.json")), UNITS)
    assert found == [payload_of(unit) for unit in UNITS]


def test_no_items_need_no_folder(tmp_path: Path) -> None:
    assert read_units(tmp_path / "nowhere", []) == []


def test_missing_units_are_named_with_their_items(folder: Path) -> None:
    manifest(folder, 0).unlink()
    manifest(folder, 2).unlink()
    manifest(folder, 3).unlink()
    assert diagnosis(folder) == [
        "missing: unit 0 (items 0 to 31)",
        "missing: units 2 to 3 (items 64 to 99)",
    ]


def test_a_folder_that_does_not_exist_misses_everything(tmp_path: Path) -> None:
    assert diagnosis(tmp_path / "nowhere") == ["missing: units 0 to 3 (items 0 to 99)"]


def test_a_payload_without_its_manifest_does_not_exist_yet(folder: Path) -> None:
    manifest(folder, 1).unlink()
    assert not is_complete(folder, UNITS[1], FINGERPRINT)
    assert diagnosis(folder) == ["missing: unit 1 (items 32 to 63)"]


def test_a_deleted_payload_is_diagnosed(folder: Path) -> None:
    name = payload_file(folder, 2).name
    (folder / name).unlink()
    assert diagnosis(folder) == [f"unit-00002.json: payload missing: there is no {name}"]


def test_a_truncated_payload_is_diagnosed(folder: Path) -> None:
    file = payload_file(folder, 2)
    file.write_bytes(file.read_bytes()[:-5])
    assert diagnosis(folder) == [f"unit-00002.json: truncated: {file.name} has 12 of 17 bytes"]


@given(bit=st.integers(0, 17 * 8 - 1))
def test_a_flipped_bit_is_diagnosed(tmp_path_factory: pytest.TempPathFactory, bit: int) -> None:
    folder = tmp_path_factory.mktemp("shards")
    write_unit(folder, UNITS[0], payload_of(UNITS[0]), FINGERPRINT, 1)
    file = payload_file(folder, 0)
    damaged = bytearray(payload_of(UNITS[0]))
    damaged[bit // 8] ^= 1 << bit % 8
    file.write_bytes(damaged)
    with pytest.raises(ShardError, match="corrupt"):
        read_units(folder, UNITS[:1])


@pytest.mark.parametrize("damaged", [b"records of unit 7", b"records of unit 2 and more"])
def test_a_corrupt_payload_is_diagnosed_with_both_hashes(folder: Path, damaged: bytes) -> None:
    file = payload_file(folder, 2)
    file.write_bytes(damaged)
    found, written = (hashlib.sha256(content).hexdigest() for content in (damaged, payload_of(UNITS[2])))
    assert diagnosis(folder) == [
        f"unit-00002.json: corrupt: {file.name} has sha256 {found}, written was {written}"
    ]


def test_a_unit_from_another_run_is_diagnosed_with_both_values(folder: Path) -> None:
    foreign = Fingerprint.of({"model": "m2", "doc_stride": 128, "max_length": 384})
    write_unit(folder, UNITS[1], payload_of(UNITS[1]), foreign, 32)
    assert diagnosis(folder) == [
        "unit-00001.json: from another run: doc_stride is 128, expected absent; model is 'm2', expected 'm1'"
    ]


def test_a_unit_of_another_size_is_diagnosed(folder: Path) -> None:
    write_unit(folder, Unit(7, 0, 50), b"", FINGERPRINT, 50)
    assert diagnosis(folder) == ["unit-00007.json: unknown: this evaluation has no unit 7 (items 0 to 49)"]


def test_an_identical_duplicate_is_dropped(folder: Path) -> None:
    shutil.copy(manifest(folder, 3), folder / "unit-00003.copy.json")
    assert read_units(folder, UNITS) == [payload_of(unit) for unit in UNITS]


def test_a_conflicting_duplicate_is_an_error_that_names_both(folder: Path) -> None:
    kept = manifest(folder, 3).rename(folder / "unit-00003.copy.json")
    write_unit(folder, UNITS[3], b"something else", FINGERPRINT, 4)
    assert kept.exists()
    assert diagnosis(folder) == [
        "unit-00003.json: duplicate conflicting: unit 3 (items 96 to 99) differs from unit-00003.copy.json"
    ]


def test_manifests_of_several_folders_are_told_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for unit in UNITS:
            write_unit(tmp_path / name, unit, payload_of(unit), FINGERPRINT, 1)
    write_unit(tmp_path / "b", UNITS[0], b"something else", FINGERPRINT, 1)
    assert diagnosis([*tmp_path.glob("a/*.json"), *tmp_path.glob("b/*.json")]) == [
        f"{tmp_path}/b/unit-00000.json: duplicate conflicting: unit 0 (items 0 to 31) differs from "
        f"{tmp_path}/a/unit-00000.json"
    ]


def test_a_manifest_that_is_not_there_is_diagnosed(folder: Path) -> None:
    paths = sorted(folder.glob("*.json"))
    gone = folder / "gone.json"
    assert diagnosis([*paths, gone]) == [f"{gone}: broken manifest: there is no such file"]


def test_a_manifest_that_is_no_json_is_diagnosed(folder: Path) -> None:
    manifest(folder, 0).write_text('{"unit": ')
    missing, broken = diagnosis(folder)
    assert missing == "missing: unit 0 (items 0 to 31)"
    assert broken.startswith("unit-00000.json: broken manifest: Invalid JSON: EOF while parsing")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_rows": "4"}, "num_rows: Input should be a valid integer"),
        ({"unit": {"index": 3, "start": 96}}, "unit.stop: Field required"),
        ({"payload": "../secret"}, "payload '../secret' is not a plain file name"),
    ],
)
def test_a_manifest_with_a_wrong_field_is_diagnosed(
    folder: Path, changes: dict[str, Any], reason: str
) -> None:
    shutil.copy(manifest(folder, 3), folder / "copy.json")
    change_manifest(folder / "copy.json", **changes)
    assert diagnosis(folder) == [f"copy.json: broken manifest: {reason}"]


def test_everything_that_is_wrong_is_reported_at_once(folder: Path) -> None:
    manifest(folder, 0).unlink()
    file = payload_file(folder, 1)
    file.write_bytes(b"")
    write_unit(folder, UNITS[2], b"", Fingerprint.of({"model": "m1", "max_length": 512}), 0)
    assert diagnosis(folder) == [
        "missing: unit 0 (items 0 to 31)",
        f"unit-00001.json: truncated: {file.name} has 0 of 17 bytes",
        "unit-00002.json: from another run: max_length is 512, expected 384",
    ]


def test_the_error_names_the_folder_and_the_next_thing_to_do(folder: Path) -> None:
    manifest(folder, 0).unlink()
    with pytest.raises(ShardError) as caught:
        read_units(folder, UNITS)
    assert str(caught.value) == (
        f"{folder}: 1 problem in the work units\n  - missing: unit 0 (items 0 to 31)\n  → {AGAIN}"
    )


def test_files_that_must_go_first_are_said_so(folder: Path) -> None:
    payload_file(folder, 0).unlink()
    with pytest.raises(ShardError) as caught:
        read_units(folder, UNITS)
    assert caught.value.remedy == DELETE


def test_a_whole_unit_is_complete(folder: Path) -> None:
    assert all(is_complete(folder, unit, FINGERPRINT) for unit in UNITS)


def test_a_unit_of_other_items_or_of_another_run_is_not_complete(folder: Path) -> None:
    assert not is_complete(folder, Unit(0, 0, 33), FINGERPRINT)
    assert not is_complete(folder, UNITS[0], Fingerprint.of({"model": "m2", "max_length": 384}))


def test_a_damaged_unit_is_not_complete(folder: Path) -> None:
    payload_file(folder, 0).write_bytes(b"records of unit 7")
    payload_file(folder, 1).unlink()
    manifest(folder, 2).write_text("{")
    assert [is_complete(folder, unit, FINGERPRINT) for unit in UNITS] == [False, False, False, True]


def test_a_resumed_evaluation_computes_only_what_is_missing_at_any_number_of_shards(folder: Path) -> None:
    manifest(folder, 1).unlink()
    payload_file(folder, 3).write_bytes(b"half")
    for shard in range(3):
        for unit in units_of_shard(UNITS, shard, 3):
            if not is_complete(folder, unit, FINGERPRINT):
                assert unit.index in (1, 3)
                write_unit(folder, unit, payload_of(unit), FINGERPRINT, unit.stop - unit.start)
    assert read_units(folder, UNITS) == [payload_of(unit) for unit in UNITS]
