"""Hardware for neural networks that this program does not use; it scores on the processor."""

from collections.abc import Iterator
from pathlib import Path

_PCI = {
    0x1E60: "Hailo",
    0x1AC1: "Google Coral",
}
_NVIDIA, _INTEL, _AMD = 0x10DE, 0x8086, 0x1022
_DISPLAY, _PROCESSING_ACCELERATOR = 0x03, 0x12  # PCI's base classes
# A Coral stick calls itself so before and after its firmware is loaded.
_USB = {("1a6e", "089a"): "Google Coral", ("18d1", "9302"): "Google Coral"}


def find_accelerators(root: Path = Path("/")) -> tuple[str, ...]:
    """Names of those that are there, each once.

    Args:
        root: where Linux shows `sys`.
    """
    return tuple(sorted({*_on_pci(root), *_on_usb(root)}))


def _on_pci(root: Path) -> Iterator[str]:
    for device in root.glob("sys/bus/pci/devices/*"):
        vendor = _hexadecimal(device / "vendor")
        base_class = _hexadecimal(device / "class") >> 16
        if vendor in _PCI:
            yield _PCI[vendor]
        elif vendor == _NVIDIA and base_class == _DISPLAY:
            yield "NVIDIA GPU"
        elif vendor in (_INTEL, _AMD) and base_class == _PROCESSING_ACCELERATOR:
            yield "Intel NPU" if vendor == _INTEL else "AMD NPU"


def _on_usb(root: Path) -> Iterator[str]:
    for device in root.glob("sys/bus/usb/devices/*"):
        name = _USB.get((_text(device / "idVendor"), _text(device / "idProduct")))
        if name is not None:
            yield name


def _hexadecimal(path: Path) -> int:
    try:
        return int(_text(path), 16)
    except ValueError:
        return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
