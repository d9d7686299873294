#!/bin/bash
# Answers tapes on an emulated CPU. What is answered stands when it is interrupted: the same command goes on. See README.md.
#
#     emulate.sh WORK BOCHS CPU TAPE:RESOLVER [...]
#
# WORK: made by build_guest.sh. BOCHS: the program. CPU: one of its models.
# RESOLVER: AUTO (default delegates), BUILTIN_WITHOUT_DEFAULT_DELEGATES or BUILTIN_REF.
set -euo pipefail
[ $# -ge 4 ] || { sed -n 2,8p "$0"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
work=$(realpath "$1") bochs=$(realpath "$2") cpu=$3
shift 3
run=$(mktemp -d)
trap 'rm -rf "$run"' EXIT
mkdir "$run/job"
cp "$here"/{run_tape,tape_entry}.py "$here"/../../../src/lastbit/{oracles/tflite_worker,runtimes/machine}.py "$run/job/"
echo 'cd /job' > "$run/job/job.sh"
size=64
for entry in "$@"; do
    tape=${entry%:*} name=$(basename "${entry%:*}")
    cp "$tape" "$run/job/"
    [ ! -f "$tape.answers" ] || cp "$tape.answers" "$run/job/"
    echo "/bin/python run_tape.py $name ${entry##*:} 'emulated by Bochs 3.0'" >> "$run/job/job.sh"
    size=$((size + 3 * $(stat -c %s "$tape") / 1000000 + 1))
done
mke2fs -q -F -t ext4 -O ^has_journal -d "$run/job" "$run/job.img" "${size}M"
cat > "$run/bochsrc" <<X
config_interface: textconfig
display_library: nogui
memory: guest=2048, host=2048
romimage: file=$work/bios
vgaromimage: file=$work/vgabios
cpu: model=$cpu, count=1, ips=100000000, reset_on_triple_fault=0, ignore_bad_msrs=1
clock: sync=none, time0=utc
pci: enabled=1, chipset=i440fx
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15
ata0-master: type=disk, path=$work/disk.img, mode=volatile
ata0-slave: type=disk, path=$run/job.img, mode=flat
ata1-master: type=cdrom, path=$work/boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=/dev/stderr
log: $run/log
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
X
"$bochs" -q -f "$run/bochsrc" > "$run/out" || [ $? = 1 ] # its way to say that the machine was switched off
for entry in "$@"; do
    for end in answers machine; do
        debugfs -R "dump /$(basename "${entry%:*}").$end ${entry%:*}.$end" "$run/job.img" 2> /dev/null
    done
done
