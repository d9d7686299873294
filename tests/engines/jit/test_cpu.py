"""Which kernels a CPU gets, on operating systems that this machine does not have, and what LLVM is told of it."""

import pytest

pytest.importorskip("numba", reason="needs Numba: pip install '.[fast]'")

from lastbit.engines.jit import cpu as jit_cpu
from lastbit.engines.jit import hybrid as jit_hybrid
from lastbit.engines.jit import peak as jit_peak
from lastbit.engines.jit.forms import SUMS
from lastbit.engines.jit.tile import Shape, build_tile
from lastbit.engines.jit.vectors import ISAS, choose_isa

# The bits of Linux's AT_HWCAP, in their order (arch/arm64/include/uapi/asm/hwcap.h).
HWCAP = """
    fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc dcpop sha3 sm3 sm4
    asimddp
""".strip().split()
PI_4 = "fp asimd evtstrm crc32 cpuid"
PI_5 = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"  # Cortex-A76
)
# What LLVM 22 finds on a Raspberry Pi 5 (its /proc/cpuinfo under qemu-user): no dot product.
LLVM_PI_5 = {"fp-armv8": True, "sha2": True, "lse": True, "neon": True, "crc": True, "aes": True, "sve": False}
LINUX, APPLE, WINDOWS = "aarch64-unknown-linux-gnu", "arm64-apple-darwin24.0.0", "aarch64-pc-windows-msvc"


class Library:
    """The operating system's functions that tell of the CPU, and what they were asked."""

    def __init__(self, hwcap="", sysctl=None, windows=()):
        self.getauxval = self._function(
            lambda kind: sum(1 << HWCAP.index(n) for n in hwcap.split()) if kind == 16 else 0
        )
        self.sysctlbyname = self._function(self._sysctl)
        self.IsProcessorFeaturePresent = self._function(lambda number: int(number.value in windows))
        self._known = sysctl or {}

    @staticmethod
    def _function(function):
        class Function:
            __call__ = staticmethod(function)

        return Function()

    def _sysctl(self, name, value, size, _new, _new_size):
        if name.decode() not in self._known:
            return -1
        assert size._obj.value == 4
        value._obj.value = self._known[name.decode()]
        return 0


DOT = "hw.optional.arm.FEAT_DotProd"


@pytest.mark.parametrize(
    ("triple", "system", "found", "library", "kernels"),
    [
        pytest.param(LINUX, "linux", LLVM_PI_5, Library(PI_5), "neon_dot", id="Raspberry Pi 5"),
        pytest.param(LINUX, "linux", {"neon": True, "crc": True}, Library(PI_4), "portable", id="Raspberry Pi 4"),
        pytest.param(LINUX, "linux", {}, Library(PI_5), "neon_dot", id="a core that LLVM does not know"),
        pytest.param(LINUX, "linux", LLVM_PI_5, object(), "portable", id="a C library without getauxval"),
        pytest.param(LINUX, "linux", {**LLVM_PI_5, "dotprod": True}, object(), "neon_dot", id="a later LLVM"),
        pytest.param(APPLE, "darwin", {}, Library(sysctl={DOT: 1}), "neon_dot", id="Apple M1"),
        pytest.param(APPLE, "darwin", {}, Library(sysctl={DOT: 0}), "portable", id="Apple, no"),
        pytest.param(APPLE, "darwin", {}, Library(), "portable", id="macOS 11, which does not know the question"),
        pytest.param(WINDOWS, "win32", {"neon": True}, Library(windows=(43,)), "neon_dot", id="Snapdragon X"),
        pytest.param(WINDOWS, "win32", {"neon": True}, Library(windows=(30, 31)), "portable", id="Snapdragon 835"),
        pytest.param("aarch64-unknown-freebsd", "freebsd14", {}, Library(PI_5), "portable", id="FreeBSD"),
        pytest.param("x86_64-apple-darwin24.0.0", "darwin", {}, Library(sysctl={DOT: 1}), "portable", id="Rosetta"),
        pytest.param(
            "armv7l-unknown-linux-gnueabihf", "linux", {"neon": True}, Library(PI_5), "portable", id="32 bits"
        ),
    ],
)
def test_the_dot_product_is_asked_of_the_system(monkeypatch, triple, system, found, library, kernels):
    opened = []

    def load(name):
        opened.append(name)
        return library

    monkeypatch.setattr(jit_cpu.ctypes, "CDLL", load)
    before = dict(found)
    features = jit_cpu.cpu_features(found, triple, system)
    assert choose_isa(features).name == kernels
    assert found == before
    arm = triple.startswith(("aarch64", "arm64"))
    assert bool(features.get("fma")) == arm  # hybrid layers need it, and every 64-bit ARM CPU has it
    assert set(opened) <= {"kernel32" if system == "win32" else None}
    assert bool(opened) == (arm and system in ("linux", "darwin", "win32") and not found.get("dotprod"))


def test_a_system_without_the_library_gets_plain_kernels(monkeypatch):
    def fail(name):
        raise OSError(name)

    monkeypatch.setattr(jit_cpu.ctypes, "CDLL", fail)
    for triple, system in ((LINUX, "linux"), (APPLE, "darwin"), (WINDOWS, "win32")):
        assert choose_isa(jit_cpu.cpu_features({}, triple, system)).name == "portable"


def test_llvm_without_features_is_no_error(monkeypatch):
    import llvmlite.binding as llvm

    def fail():
        raise RuntimeError

    monkeypatch.setattr(llvm, "get_host_cpu_features", fail)
    monkeypatch.setattr(llvm, "get_process_triple", lambda: "aarch64-unknown-freebsd")
    jit_cpu._host_features.cache_clear()
    try:
        assert jit_cpu.host_isa().name == "portable"
        assert jit_cpu.has_fma()
    finally:
        jit_cpu._host_features.cache_clear()


def test_every_user_asks_the_same():
    assert jit_peak.host_isa is jit_cpu.host_isa
    assert jit_hybrid.has_fma is jit_cpu.has_fma


@pytest.mark.parametrize(
    ("isa", "triple", "cpu", "features", "instruction"),
    [
        ("neon_dot", LINUX, "generic", "-sve,-rand", "sdot"),
        ("neon_dot", LINUX, "cortex-a76", "+neon,-sve", "sdot"),
        ("neon_dot", "arm64-apple-darwin24.0.0", "apple-m1", "", "sdot"),
        ("avx2", "x86_64-unknown-linux-gnu", "x86-64", "", "vpmaddwd"),
        ("avxvnni", "x86_64-unknown-linux-gnu", "x86-64", "+sse4.2", "vpdpbusd"),
        ("avx512vnni", "x86_64-unknown-linux-gnu", "x86-64", "", "vpdpbusd"),
    ],
)
def test_a_cpu_that_llvm_does_not_know_is_allowed_its_instructions(isa, triple, cpu, features, instruction):
    # Without the words of `allow`, LLVM ends the process here: it cannot select the instruction.
    import llvmlite.binding as llvm
    from llvmlite import ir

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = ir.Module()
    module.triple = triple
    fn = build_tile(module, ISAS[isa], Shape(SUMS, 6, ISAS[isa].vectors, output_bytes=4), features=features)
    words = next(name for name in fn.attributes if name.startswith('"target-features"'))
    assert words.split('"')[3].startswith(features)
    assert {"noinline", "nounwind"} < set(fn.attributes)
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features, opt=2)
    text = machine.emit_assembly(llvm.parse_assembly(str(module)))
    assert sum(instruction in line for line in text.splitlines()) == 2 * 6 * ISAS[isa].vectors


def test_nothing_is_said_where_all_is_known():
    from llvmlite import ir

    known = build_tile(ir.Module(), ISAS["neon_dot"], Shape(SUMS, 1, 4, output_bytes=4), features="+neon,+dotprod")
    plain = build_tile(ir.Module(), ISAS["portable"], Shape(SUMS, 1, 2, output_bytes=4))
    for fn in (known, plain):
        assert not [name for name in fn.attributes if "target" in name]
