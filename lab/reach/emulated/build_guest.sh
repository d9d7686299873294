#!/bin/bash
# Makes what Bochs boots: a RAM disk, a CD and a disk with Python, NumPy and LiteRT. See README.md.
#
#     build_guest.sh WORK PACKAGES PYTHON
#
# WORK: a folder to write to. PACKAGES: where Debian's packages are unpacked. PYTHON: of a virtual environment with
# ai-edge-litert (copied) and pycdlib (used).
set -euo pipefail
[ $# = 3 ] || { sed -n 2,8p "$0"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
work=$(realpath -m "$1") packages=$(realpath "$2") python=$3
modules="crc64 crc64-rocksoft crct10dif_common crct10dif_generic crc-t10dif t10-pi scsi_common scsi_mod sd_mod libata ata_piix
crc16 crc32c_generic mbcache jbd2 ext4"

rm -rf "$work/initrd" "$work/disk"
mkdir -p "$work"/initrd/{bin,proc,sys,dev,mnt,lib} "$work"/disk/{bin,lib64,lib/x86_64-linux-gnu,proc,sys,dev,tmp,job}
cp "$packages/bin/busybox" "$work/initrd/bin/"
for module in $modules; do cp "$(find "$packages/lib/modules" -name "$module.ko")" "$work/initrd/lib/"; done
{
    echo '#!/bin/busybox sh'
    echo '/bin/busybox --install -s /bin'
    echo 'mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev'
    echo "for m in" $modules"; do insmod /lib/\$m.ko; done"
    echo 'until [ -b /dev/sdb ]; do sleep 1; done'
    echo 'root=sda job=sdb # in this order on most CPUs'
    echo 'mount -o ro,noload /dev/sda /mnt; [ -e /mnt/bin/sh ] || { umount /mnt; root=sdb job=sda; }'
    echo '[ $root = sda ] || mount -o ro,noload /dev/$root /mnt'
    echo 'mount /dev/$job /mnt/job'
    echo 'for d in proc sys dev; do mount --bind /$d /mnt/$d; done; mount -t tmpfs tmp /mnt/tmp'
    echo 'chroot /mnt /bin/sh /job/job.sh; echo "JOB ended with $?"'
    echo 'umount /mnt/job; sync; poweroff -f'
} > "$work/initrd/init"
chmod +x "$work/initrd/init"
(cd "$work/initrd" && find . | "$packages/bin/cpio" -o -H newc --quiet | gzip -9 > "$work/initrd.gz")
"$python" "$here/boot_cd.py" "$packages" "$work"
cp -L "$packages/usr/share/bochs/BIOS-bochs-latest" "$work/bios"
cp -L "$packages/usr/share/vgabios/vgabios.bin" "$work/vgabios"

cp "$packages/bin/busybox" "$work/disk/bin/"
for name in sh cat ls sync; do ln -s busybox "$work/disk/bin/$name"; done
"$python" "$here/copy_python.py" "$work/disk" numpy ai_edge_litert
mke2fs -q -F -t ext4 -O ^has_journal -d "$work/disk" "$work/disk.img" "$(($(du -sm "$work/disk" | cut -f1) * 13 / 10 + 64))M"
rm -rf "$work/initrd" "$work/disk"
