"""The compiled engine's code on disk: whatever happens to it, the numbers are right, and nobody else's code is run."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lastbit
from lastbit.engines.jit import cache as jit_cache
from lastbit.engines.jit.cache import Cache
from lastbit.engines.jit.matmul import available
from tests.support.models import make_dense_model

needs_numba = pytest.mark.skipif(not available(), reason="needs Numba: pip install 'lastbit[fast]'")
needs_posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="users and modes of POSIX")


def entry(cache):
    (path,) = cache.folder.glob("*.code")
    return path


def test_an_entry_comes_back_and_only_under_its_name(tmp_path):
    cache = Cache.at(tmp_path / "deep" / "folder")
    assert cache.load("a") is None
    cache.save("a", b"content")
    assert cache.load("a") == b"content"
    assert cache.load("b") is None
    cache.save("a", b"other")
    assert Cache.at(cache.folder).load("a") == b"other"
    assert [path.suffix for path in cache.folder.iterdir()] == [".code"]
    assert not cache.problem


def test_every_cut_and_every_flipped_bit_is_noticed(tmp_path, capsys):
    cache = Cache.at(tmp_path / "kept")
    cache.save("name", bytes(range(20)))
    path = entry(cache)
    whole = path.read_bytes()
    damaged = [whole[:size] for size in range(len(whole))]
    damaged += [
        bytes(b ^ (1 << bit) * (i == k) for k, b in enumerate(whole)) for i in range(len(whole)) for bit in (0, 7)
    ]
    damaged.append(whole + b"\0")
    for content in damaged:
        path.write_bytes(content)
        assert cache.load("name") is None
    path.write_bytes(whole)
    assert cache.load("name") == bytes(range(20))
    (line,) = capsys.readouterr().err.splitlines()
    assert str(cache.folder) in line
    assert "damaged" in line


def test_another_entry_in_its_place_is_not_taken(tmp_path):
    cache = Cache.at(tmp_path / "kept")
    cache.save("a", b"content")
    cache._path("a").rename(cache._path("b"))
    assert cache.load("b") is None


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch, capsys):
    cache = Cache.at(tmp_path / "kept")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jit_cache.os, "replace", full)
    cache.save("a", b"content")
    cache.save("b", b"content")
    assert not list(cache.folder.iterdir())
    assert cache.load("a") is None
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{cache.folder}: cannot be written: no space left on device" in line


def test_what_killed_processes_left_is_removed(tmp_path):
    cache = Cache.at(tmp_path / "kept")
    old, new = cache.folder / "old.part", cache.folder / "new.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    cache.save("a", b"content")
    assert not old.exists()
    assert new.exists()


@needs_posix
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_folder_that_others_can_write_is_not_used(tmp_path, mode):
    folder = tmp_path / "kept"
    Cache.at(folder).save("a", b"content")
    folder.chmod(mode)
    cache = Cache.at(folder)
    assert cache.folder is None
    assert str(folder) in cache.problem
    cache.save("b", b"content")
    assert cache.load("a") is None


@needs_posix
def test_a_folder_below_one_that_everybody_can_write_is_used_only_where_that_is_sticky(tmp_path):
    above = tmp_path / "above"
    above.mkdir()
    above.chmod(0o777)
    assert Cache.at(above / "kept").folder is None
    above.chmod(0o1777)
    assert Cache.at(above / "kept").folder == above / "kept"


@needs_posix
def test_a_folder_or_an_entry_of_another_user_is_not_used(tmp_path, monkeypatch):
    cache = Cache.at(tmp_path / "kept")
    cache.save("a", b"content")
    monkeypatch.setattr(jit_cache.os, "geteuid", lambda: os.getuid() + 1)
    assert cache.load("a") is None
    assert Cache.at(tmp_path / "kept").folder is None


def test_a_file_in_place_of_the_folder_is_a_problem_and_no_error(tmp_path):
    (tmp_path / "kept").write_text("")
    cache = Cache.at(tmp_path / "kept")
    assert cache.folder is None
    assert str(tmp_path / "kept") in cache.problem


@pytest.mark.parametrize(
    ("platform", "variables", "wanted"),
    [
        ("linux", {"XDG_CACHE_HOME": "/var/me", "HOME": "/home/me"}, "/var/me/lastbit"),
        ("linux", {"XDG_CACHE_HOME": "here", "HOME": "/home/me"}, "/home/me/.cache/lastbit"),
        ("linux", {"XDG_CACHE_HOME": "", "HOME": "."}, None),
        ("darwin", {"XDG_CACHE_HOME": "/var/me", "HOME": "/Users/me"}, "/Users/me/Library/Caches/lastbit"),
        ("win32", {"LOCALAPPDATA": ""}, None),
        ("win32", {"LOCALAPPDATA": "cache"}, None),
    ],
)
@needs_posix
def test_the_folder_is_the_systems_and_never_the_working_directory(monkeypatch, platform, variables, wanted):
    monkeypatch.setattr(jit_cache.sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert jit_cache.system_folder() == (None if wanted is None else Path(wanted))


@pytest.fixture
def case(tmp_path):
    """A model and an input in an empty folder, what the compiled engine must print, and a runner of new processes."""
    model = make_dense_model(20, 30)
    x = np.random.default_rng(0).integers(-128, 128, (3, 30)).astype(np.int8)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "m.tflite").write_bytes(model.content)
    np.save(tmp_path / "work" / "x.npy", x)
    wanted = lastbit.run(model, x, "tflm").output

    def run(before=""):
        code = f"{before}\nimport sys; from lastbit.__main__ import main; sys.exit(main())"
        options = ["run", "m.tflite", "-i", "x.npy", "--runtime", "tflm", "--engine", "jit", "-o", "y.npy"]
        done = subprocess.run(
            [sys.executable, "-c", code, *options],
            cwd=tmp_path / "work",
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        np.testing.assert_array_equal(np.load(tmp_path / "work" / "y.npy"), wanted)
        assert {path.name for path in (tmp_path / "work").iterdir()} == {"m.tflite", "x.npy", "y.npy"}
        return [line for line in done.stderr.splitlines() if line.startswith("lastbit:")]

    return tmp_path / "cache" / "lastbit", run


@needs_numba
@pytest.mark.skipif(sys.platform != "linux", reason="the folder is given by XDG_CACHE_HOME")
def test_damaged_entries_cost_one_warning(case):
    folder, run = case
    (line,) = run()
    assert "compiling" in line
    assert str(folder) in line
    assert run() == []
    entries = sorted(folder.glob("*.code"))
    assert len(entries) > 5
    for number, path in enumerate(entries[:4]):
        whole = path.read_bytes()
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        path.write_bytes((b"", whole[:middle], flipped, whole[:-1])[number])
    damaged = [line for line in run() if "is damaged" in line]
    assert len(damaged) == 1
    assert str(folder) in damaged[0]
    assert run() == []


@needs_numba
@pytest.mark.skipif(sys.platform != "linux", reason="the folder is given by XDG_CACHE_HOME")
def test_a_disk_without_room_and_a_folder_that_is_none_cost_one_warning(case):
    folder, run = case
    # No file may get longer than what the output takes.
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
    lines = run(f"{limit}; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))")
    (line,) = [line for line in lines if "cannot be written" in line]
    assert str(folder) in line
    assert not list(folder.iterdir())
    folder.rmdir()
    folder.write_text("")
    (line,) = run()
    assert f"not kept: {folder}" in line
