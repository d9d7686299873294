"""Write WORK/boot.iso: isolinux, Debian's kernel and WORK/initrd.gz. `boot_cd.py PACKAGES WORK`; see README.md."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pycdlib  # type: ignore[import-not-found]

# Without these CPU features Linux 6.1 starts on Bochs' newer CPUs; with them it ends in a loop of page faults.
HIDDEN = "xsaves,xsavec,rdpid,fsrm,erms,umip,invpcid,ibpb,ibrs,stibp,ssbd"
OPTIONS = (
    "console=ttyS0,115200 panic=-1 nopku nopti nopcid noinvpcid nofsgsbase nosmap nosmep noxsaves noxsaveopt "
    f"clearcpuid={HIDDEN} mitigations=off nokaslr tsc=reliable clocksource=tsc lpj=1000000 nowatchdog"
)


def main() -> None:
    """Write the CD."""
    packages, work = Path(sys.argv[1]), Path(sys.argv[2])
    cd = pycdlib.PyCdlib()
    cd.new(interchange_level=3)
    for path, name in (
        (packages / "usr/lib/ISOLINUX/isolinux.bin", "ISOLINUX.BIN"),
        (packages / "usr/lib/syslinux/modules/bios/ldlinux.c32", "LDLINUX.C32"),
        (next((packages / "boot").glob("vmlinuz-*")), "VMLINUZ."),
        (work / "initrd.gz", "INITRD.GZ"),
    ):
        cd.add_file(str(path), f"/{name};1")
    menu = f"DEFAULT linux\nPROMPT 0\nLABEL linux\n KERNEL /vmlinuz\n INITRD /initrd.gz\n APPEND {OPTIONS}\n".encode()
    cd.add_fp(io.BytesIO(menu), len(menu), "/ISOLINUX.CFG;1")
    cd.add_eltorito("/ISOLINUX.BIN;1", boot_load_size=4, boot_info_table=True)
    cd.write(str(work / "boot.iso"))
    cd.close()


if __name__ == "__main__":
    main()
