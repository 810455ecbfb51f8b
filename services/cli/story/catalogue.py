# SPDX-License-Identifier: Apache-2.0
"""Images, flavors, and the pools that follow from servers."""

from __future__ import annotations

from services.cli.story.script import Line, Scene

_FROM = "https://images.example.org"
_SUM = "sha256:5f2c0d3a1b8e4f6790a1b2c3d4e5f60718293a4b5c6d7e8f9012a3b4c5d6e7f8"

CATALOGUE = Scene(
    "2. Images and flavors; pools follow by themselves",
    (
        Line(
            f"bms image create debian-12 --site --visibility public --source {_FROM}/debian-12.raw --checksum {_SUM}",
            note="A whole-disk image for everybody.",
            says=("debian-12", "public"),
        ),
        Line(
            f"bms image create kiosk --site --visibility public --source {_FROM}/kiosk.ext4 --checksum {_SUM}"
            f" --kernel {_FROM}/vmlinuz --kernel-checksum {_SUM} --ramdisk {_FROM}/initrd --ramdisk-checksum {_SUM}",
            note="A root file system with kernel and ramdisk of its own.",
            says=("partition",),
        ),
        Line(
            f"bms {{tenant}} image create mine --visibility private --source {_FROM}/mine.raw --checksum {_SUM}",
            note="A tenant's own.",
            says=("private",),
        ),
        Line("bms --as tenant-b image show mine", note="It does not exist for others.", code=1, says=("NOT_FOUND",)),
        Line(
            "bms flavor create bm.large --class compute-large --min-cpus 32 --capability boot_mode=uefi",
            says=("bm.large", ">= 32 cores"),
        ),
        Line(
            "bms server set r11-11 --label stage=yes",
            note="One server gets a label, and a flavor that wants it: so we know whom the faults below will meet.",
            says=("labels",),
        ),
        Line("bms flavor create bm.stage --label stage=yes", says=("stage=yes",)),
        Line(
            """bms flavor set bm.large --description "large ones" --etag '"stale"'""",
            note="A change on top of something you have not seen is refused.",
            code=1,
            says=("STALE", "Remedy:"),
        ),
        Line('bms flavor set bm.large --description "large ones"', says=("large ones",)),
        Line(
            "bms pool list",
            note="How many there are of each kind, and why the others are not to be had.",
            says=("compute-large", "R11", "bm.large"),
        ),
        Line(
            "bms explain --flavor bm.large --image debian-12",
            note="For each server: which constraint it fails.",
            says=("resource_class wants compute-large, has storage", "would do now"),
        ),
    ),
)
