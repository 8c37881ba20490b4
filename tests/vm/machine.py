"""What a guest is made of, as QEMU's command line. The recipe, and what each word of it is for, is in README.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
ORDINARY = 1024 * MIB  # the guest's own memory: all that lies below 4 GiB
GAP = 64 * MIB  # in front of every shared file but the first: adjacent ranges would become one device
FIRST = 4096 * MIB  # where the first shared file lies


@dataclass(frozen=True)
class Machine:
    """One guest. Files in `shared` are memory of a NUMA node each, without CPUs, which the guest sees as /dev/dax0.0,
    /dev/dax1.0 and so on; what is shared is what several guests, or a guest and a process here, are given. Of every
    such file but the first, the first 64 MiB are not used. Sizes are the files', multiples of 128 MiB."""

    shared: Sequence[Path] = ()
    nvdimm: Path | None = None  # /dev/pmem0
    disk: Path | None = None  # /dev/vda
    forward: Sequence[tuple[int, int]] = ()  # ports of loopback here, and the ports in the guest that they lead to
    network: bool = False  # the guest reaches loopback here as 10.0.2.2; implied by `forward`
    cable: tuple[Path, int] | None = None  # to another guest: a folder that both know, and which this is, 1 or 2
    cpus: int = 1
    huge: int = 0  # pages of 1 GiB that it sets aside as it boots; such a guest shares nothing

    def command(self, kernel: Path, agent: Path) -> list[str]:
        """QEMU's words, all but the channels and the console."""
        words = ["qemu-system-x86_64", "-machine", f"pc,max-ram-below-4g=1G{',nvdimm=on' if self.nvdimm else ''}"]
        # maxcpus: with one possible CPU the emulator drops the lock prefix, and atomics between guests lose updates.
        words += ["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", f"{self.cpus},maxcpus={max(2, self.cpus)}"]
        words += ["-nodefaults", "-display", "none", "-no-reboot"]
        words += ["-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"]
        words += ["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]
        memory, reserved = self._memory()
        said = ["console=ttyS0", "quiet", "panic=-1", "nokaslr", "mitigations=off", f"maru.agent={agent}"]
        words += ["-kernel", str(kernel / "vmlinux"), "-initrd", str(kernel / "initrd")]
        if self.huge:
            said.append(f"hugepagesz=1G hugepages={self.huge}")
        words += ["-append", " ".join([*said, *reserved])]
        return words + memory + self._disks() + self._networks()

    def _memory(self) -> tuple[list[str], list[str]]:
        """The nodes, and what the kernel is told of them: "Soft Reserved", as firmware marks CXL memory."""
        assert not (self.huge and self.shared), "shared memory lies where the huge pages would"
        own = ORDINARY + (self.huge + 1 if self.huge else 0) * 1024 * MIB  # one that the kernel takes a part of
        sizes = [path.stat().st_size for path in self.shared]
        slots = ",slots=1,maxmem=16G" if self.nvdimm else ""
        words = ["-m", f"{(own + sum(sizes)) // MIB}M{slots}"]
        words += ["-object", f"memory-backend-ram,id=m0,size={own}"]
        words += ["-numa", f"node,nodeid=0,memdev=m0,cpus=0-{max(2, self.cpus) - 1}"]
        reserved, at = [], FIRST
        for node, (path, size) in enumerate(zip(self.shared, sizes, strict=True), start=1):
            words += ["-object", f"memory-backend-file,id=m{node},size={size},mem-path={path},share=on"]
            words += ["-numa", f"node,nodeid={node},memdev=m{node}"]
            words += [word for other in range(node) for word in ("-numa", f"dist,src={other},dst={node},val=22")]
            if node > 1:
                reserved.append(f"memmap={GAP:#x}${at:#x}")
                at, size = at + GAP, size - GAP
            reserved.append(f"memmap={size:#x}%{at:#x}-1+0xefffffff")
            at += size
        return words, reserved

    def _disks(self) -> list[str]:
        words = []
        if self.nvdimm:
            size = self.nvdimm.stat().st_size
            words += ["-object", f"memory-backend-file,id=nv,size={size},mem-path={self.nvdimm},share=on"]
            words += ["-device", "nvdimm,id=nvdimm,memdev=nv"]
        if self.disk:
            words += ["-drive", f"file={self.disk},format=raw,if=none,id=disk", "-device", "virtio-blk-pci,drive=disk"]
        return words

    def _networks(self) -> list[str]:
        words = []
        if self.network or self.forward:
            ports = "".join(f",hostfwd=tcp:127.0.0.1:{here}-:{there}" for here, there in self.forward)
            words += ["-netdev", f"user,id=host{ports}", *network_card("host", 0)]
        if self.cable:
            folder, number = self.cable
            ends = f"local.type=unix,local.path={folder}/cable{number}"
            ends += f",remote.type=unix,remote.path={folder}/cable{3 - number}"
            words += ["-netdev", f"dgram,id=cable,{ends}", *network_card("cable", number)]
        return words


def network_card(network: str, number: int) -> list[str]:
    """A network card, by whose number the guest's init knows it: 0 is 10.0.2.15 on `host`, n is 10.9.0.n on `cable`."""
    card = f"virtio-net-pci,id={network}-card,netdev={network},mac=52:54:00:00:00:0{number},romfile="
    return ["-device", card]
