"""Input files of every kind, what is wrong with them, and output files that are whole or not there."""

import errno
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from lastbit.model.errors import InputError
from lastbit.model.graph import Model, Subgraph, Tensor
from lastbit.model.types import FLOAT32, INT4, INT8, INT16, STRING
from lastbit.report.input_arrays import read_array, read_inputs
from lastbit.report.output_files import atomic_write, check_target, write_arrays, write_bytes

X = np.arange(-10, 11, dtype=np.int8).reshape(3, 7)


def tensor(index, name, shape, dtype=INT8):
    return Tensor(index, name, shape, shape, dtype, None, None)


def model_with(*inputs):
    """A model of inputs only: reading files needs no more."""
    graph = Subgraph("main", inputs, (), tuple(t.index for t in inputs), ())
    return Model((graph,), "", 3, b"", "m.tflite")


TWO = model_with(tensor(0, "a", (1, 7)), tensor(1, "b=c", (1, 2), FLOAT32))
ONE = model_with(tensor(0, "x", (1, 7)))
Y = np.array([[0.5, -1.5]], np.float32)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- reading ---


def test_npy_npz_and_raw_give_the_same_array(here):
    np.save("x.npy", X)
    np.savez("named.npz", x=X)
    np.savez("indexed.npz", **{"0": X})
    np.savez("positional.npz", X)
    np.savez("whatever.npz", whatever=X)
    X.tofile("x.bin")
    X.tofile("x.RAW")
    X.tofile("x.i8")
    files = ("x.npy", "named.npz", "indexed.npz", "positional.npz", "whatever.npz", "x.bin", "x.RAW", "x.i8")
    for file in (*files, "x=x.npy", "0=x.npy", "0=whatever.npz"):
        found = read_inputs([file], ONE)
        assert list(found) == [0]
        assert found[0].dtype == np.int8
        np.testing.assert_array_equal(found[0], X, err_msg=file)


def test_two_inputs_in_order_by_name_and_from_one_archive(here):
    np.save("a.npy", X)
    np.save("b.npy", Y)
    np.savez("both.npz", **{"a": X, "b=c": Y})
    np.savez("ordered.npz", X, Y)
    for specs in (
        ["a.npy", "b.npy"],
        ["b=c=b.npy", "a.npy"],
        ["1=b.npy", "0=a.npy"],
        ["both.npz"],
        ["ordered.npz"],
    ):
        found = read_inputs(specs, TWO)
        np.testing.assert_array_equal(found[0], X)
        np.testing.assert_array_equal(found[1], Y)


def test_a_path_may_have_an_equals_sign(here):
    np.save("seed=3.npy", X)
    np.testing.assert_array_equal(read_inputs(["seed=3.npy"], ONE)[0], X)


def test_foreign_byte_order_becomes_native(here):
    wide = np.array([[1, -2]], ">i2")
    np.save("x.npy", wide)
    found = read_array("x.npy", tensor(0, "x", (1, 2), INT16))
    assert found.dtype.isnative
    assert found.tolist() == [[1, -2]]


def test_raw_values_are_little_endian_and_typed_by_the_suffix(here):
    np.array([[1, -2], [3, 4]], "<i2").tofile("x.bin")
    assert read_array("x.bin", tensor(0, "x", (1, 2), INT16)).tolist() == [[1, -2], [3, 4]]
    np.array([0.5, -1.5], "<f4").tofile("x.f32")
    # Real values for an int8 input: quantizing is the caller's business.
    found = read_array("x.f32", tensor(0, "x", (1, 2)))
    assert found.dtype == np.float32
    assert found.shape == (1, 2)
    np.array([1, 2, 3], np.int8).tofile("v.bin")
    assert read_array("v.bin", tensor(0, "x", (3,))).shape == (3,)


def write_text(name, content):
    with open(name, "wb") as file:
        file.write(content)


@pytest.mark.parametrize(
    ("specs", "model", "message"),
    [
        (["no.npy"], ONE, "no.npy: no such file. Check the path."),
        (["folder"], ONE, "folder: is a folder, wanted an array file (.npy, .npz or .bin)."),
        (["empty.npy"], ONE, "empty.npy: the file is empty. Save the array with numpy.save"),
        (["text.csv"], ONE, "text.csv: the file is neither .npy nor .npz (it begins with b'1,2,3\\n"),
        (["cut.npy"], ONE, "cut.npy: cannot be read as a NumPy array: "),
        (["cut.npz"], ONE, "cut.npz: cannot be read as a NumPy array: "),
        (["object.npy"], ONE, "object.npy: the file holds Python objects, not numbers."),
        (["other.zip"], ONE, "other.zip: 'readme' is not an array; save the inputs with numpy.savez."),
        (["none.npz"], ONE, "none.npz: holds no arrays, wanted: tensor 0 'x'."),
        (
            ["wrong.npz"],
            TWO,
            "wrong.npz: key 'z' matches no input of m.tflite; its inputs are: tensor 0 'a', tensor 1 'b=c'.",
        ),
        (
            ["a=wrong.npz", "a.npy"],
            TWO,
            "wrong.npz: holds 2 arrays ('a', 'z'), wanted 1 for input tensor 0 'a'.",
        ),
        (["q=a.npy"], ONE, "-i q=a.npy: 'q' is not an input of m.tflite; its inputs are: tensor 0 'x'."),
        ([], ONE, "No input given. Add -i x.npy (int8, [1, 7])."),
        (
            [],
            TWO,
            "No input given. Add -i FILE or -i NAME=FILE for each of tensor 0 'a' (int8, [1, 7]), tensor 1 'b=c'",
        ),
        (["objects.npz"], ONE, "objects.npz (b): the file holds Python objects, not numbers."),
        (["record.npy"], ONE, "record.npy: the file holds Python objects, not numbers."),
        (["a.npy"], TWO, "found 1 input files without a name, wanted 2, for tensor 0 'a', tensor 1 'b=c'."),
        (["a.npy", "a.npy"], ONE, "found 2 input files without a name, wanted 1, for tensor 0 'x'."),
        (["x=a.npy", "a.npy"], ONE, "found 1 input files without a name, but every input is given already."),
        (["x=a.npy", "0=a.npy"], ONE, "0=a.npy: input tensor 0 'x' is given twice; give it once."),
        (
            ["five.bin"],
            ONE,
            "five.bin: found 5 bytes, wanted a multiple of 7 (one sample of tensor 0 'x': int8[7]).",
        ),
        (["empty.bin"], ONE, "empty.bin: found 0 bytes, wanted a multiple of 7"),
        (
            ["five.bin"],
            model_with(tensor(0, "v", (3,))),
            "found 5 bytes, wanted 3 (one sample of tensor 0 'v'",
        ),
        (
            ["five.bin"],
            model_with(tensor(0, "s", (1, 5), STRING)),
            "raw values of string cannot be read; give a",
        ),
        (
            ["five.bin"],
            model_with(tensor(0, "n", (1, 5), INT4)),
            "raw values of int4 cannot be read; give a .npy",
        ),
        (
            ["same=a.npy"],
            model_with(tensor(0, "same", (1,)), tensor(1, "same", (1,))),
            "2 inputs of m.tflite are",
        ),
    ],
)
def test_every_bad_input_says_what_is_wrong(here, specs, model, message):
    os.mkdir("folder")
    np.save("a.npy", X)
    np.savez("wrong.npz", a=X, z=Y)
    np.savez("none.npz")
    np.save("object.npy", np.array([None, "x"], object), allow_pickle=True)
    np.savez("objects.npz", a=X, b=np.array([{}], object))
    np.save("record.npy", np.array([(1, {})], [("n", "i4"), ("o", "O")]), allow_pickle=True)
    write_text("empty.npy", b"")
    write_text("empty.bin", b"")
    write_text("text.csv", b"1,2,3\n4")
    write_text("five.bin", b"12345")
    with open("a.npy", "rb") as file:
        write_text("cut.npy", file.read()[:-5])
    with open("wrong.npz", "rb") as file:
        write_text("cut.npz", file.read()[:-30])
    with zipfile.ZipFile("other.zip", "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(InputError) as caught:
        read_inputs(specs, model)
    assert message in str(caught.value)


def test_a_header_that_claims_terabytes_is_refused_at_once(here):
    np.save("x.npy", X)
    with open("x.npy", "rb") as file:
        content = file.read()
    write_text("x.npy", content.replace(b"(3, 7), }" + b" " * 12, b"(3000000000000, 7), }"))
    with pytest.raises(InputError, match=r"x.npy: "):
        read_inputs(["x.npy"], ONE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_neither_read_nor_replaced(here):
    os.mkfifo("x.npy")
    with pytest.raises(InputError, match=r"x.npy: is not a regular file; save the input to a file first."):
        read_inputs(["x.npy"], ONE)
    with pytest.raises(InputError, match=r"x.npy: cannot be written: it is not a regular file."):
        check_target("x.npy", (".npy",))


# --- writing ---


def test_what_is_written_is_what_is_read(here):
    arrays = {"y": X, "op3/acc": X.astype(np.int32), "file": Y, "scalar": np.float32(2.5)}
    write_arrays("out.npz", arrays)
    with np.load("out.npz") as found:
        assert set(found.files) == set(arrays)
        for key, value in arrays.items():
            assert found[key].dtype == np.asarray(value).dtype
            np.testing.assert_array_equal(found[key], value)
    write_arrays("out.npy", {"y": X})
    np.testing.assert_array_equal(np.load("out.npy"), X)
    assert sorted(os.listdir()) == ["out.npy", "out.npz"]


def test_the_same_arrays_give_the_same_bytes(here):
    write_arrays("a.npz", {"y": X})
    write_arrays("b.npz", {"y": X})
    assert (here / "a.npz").read_bytes() == (here / "b.npz").read_bytes()


def test_a_npy_holds_one_array(here):
    with pytest.raises(InputError, match=r"out.npy: a .npy holds one array, found 2; name the output .npz."):
        write_arrays("out.npy", {"a": X, "b": Y})
    assert not os.listdir()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("out.txt", "out.txt: the output's name ends in '.txt', wanted .npz or .npy; rename it."),
        ("out", "out: the output's name ends in '', wanted .npz or .npy; rename it."),
        ("no/out.npz", "no/out.npz: cannot be written: there is no folder "),
        ("folder.npz", "folder.npz: cannot be written: it is a folder; name a file in it."),
        ("x.npy", "x.npy: is being read and would be replaced; choose another name for the output."),
        ("link.npy", "link.npy: is being read and would be replaced"),
    ],
)
def test_bad_targets_are_refused_before_anything_is_computed(here, path, message):
    os.mkdir("folder.npz")
    np.save("x.npy", X)
    if path == "link.npy":
        os.symlink("x.npy", "link.npy")
    with pytest.raises(InputError) as caught:
        check_target(path, (".npz", ".npy"), keep=["model.tflite", "x.npy"])
    assert message in str(caught.value)


def test_a_folder_without_permission_is_refused(here, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root, as in containers, may write everywhere
    with pytest.raises(InputError, match=r"out.npz: cannot be written: permission denied."):
        check_target("out.npz", (".npz",))


def test_a_full_disk_leaves_the_old_file_and_no_other(here, monkeypatch):
    write_bytes("out.bin", b"old")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError) as caught:
        write_bytes("out.bin", b"new")
    assert "out.bin: cannot be written: no space left on device; nothing was changed." in str(caught.value)
    assert "Free some space" in str(caught.value)
    assert (here / "out.bin").read_bytes() == b"old"
    assert os.listdir() == ["out.bin"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_writer_leaves_nothing(here, error):
    def write_half():
        with atomic_write("out.npz") as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        write_half()
    assert not os.listdir()


def test_a_folder_that_vanishes_is_an_input_error(here):
    with pytest.raises(InputError, match=r"gone/out.npz: cannot be written: no such file or directory; nothing"):
        write_arrays("gone/out.npz", {"y": X})


@pytest.mark.skipif(os.name != "posix", reason="needs modes and links")
def test_mode_and_link_of_an_existing_target_stay(here):
    write_bytes("real.npz", b"old")
    os.chmod("real.npz", 0o640)
    os.symlink("real.npz", "out.npz")
    write_bytes("out.npz", b"new")
    assert os.path.islink("out.npz")
    assert (here / "real.npz").read_bytes() == b"new"
    assert os.stat("real.npz").st_mode & 0o777 == 0o640
    write_bytes("plain.npz", b"")
    with open("opened.npz", "wb"):
        pass
    assert os.stat("plain.npz").st_mode == os.stat("opened.npz").st_mode  # as the umask says


# --- what killed processes leave ---

KILLED = """
import os, signal, sys
from lastbit.report.output_files import atomic_write
with atomic_write({path!r}) as file:
    file.write(b"half")
    file.flush()
    print("half", flush=True)
    {then}
"""


def writer(then, path="out.npz"):
    """A process in the middle of writing a file."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED.format(path=path, then=then)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline().strip() == b"half"
    return process


@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
@pytest.mark.parametrize("name", ["other.npz", "out.npz"])
def test_the_next_writer_removes_what_a_killed_one_left(here, name):
    with writer("os.kill(os.getpid(), signal.SIGKILL)") as killed:
        killed.wait()
    assert [file.startswith(".lastbit-") for file in os.listdir()] == [True]
    write_arrays(name, {"y": X})
    assert os.listdir() == [name]


def test_what_is_being_written_is_left_alone(here):
    with writer("sys.stdin.read()") as busy:
        write_arrays("other.npz", {"y": X})
        assert len(os.listdir()) == 2
        busy.communicate()
    assert busy.returncode == 0
    assert sorted(os.listdir()) == ["other.npz", "out.npz"]
    assert (here / "out.npz").read_bytes() == b"half"


def test_files_of_others_are_no_leftovers(here):
    names = [".lastbit-notes.tmp", ".lastbit-0123456789ab.tmp.bak", "lastbit-0123456789ab.tmp"]
    for name in names:
        write_text(name, b"mine")
    write_bytes("out.bin", b"")
    assert sorted(os.listdir()) == sorted([*names, "out.bin"])


def test_many_writers_at_once_lose_nothing(here):
    script = "import sys; from lastbit.report.output_files import write_bytes\n"
    script += "for i in range(60): write_bytes(sys.argv[1], b'x')"
    processes = [subprocess.Popen([sys.executable, "-c", script, f"{number}.bin"]) for number in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert sorted(os.listdir()) == ["0.bin", "1.bin", "2.bin"]
