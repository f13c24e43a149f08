"""The NVIDIA driver's own account of its cards: `nvidia-smi -q -x`."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from boxwright.detection.machine import GpuReading, NvidiaDriver, PcieLink
from boxwright.detection.sections import UnreadableError, whole

# What nvidia-smi writes where it has no figure. The second kind means that the card itself does not answer.
_ABSENT = re.compile(
    r"\[?(N/A|Not Supported|Insufficient Permissions|Requested functionality .*|None|-?)\]?", re.IGNORECASE
)
_ERROR = re.compile(r"\[?(ERR!|Unknown Error|GPU is lost.*|Error.*|GPU requires reset.*)\]?", re.IGNORECASE)
_LEFT_OUT = {"processes", "accounted_processes", "supported_clocks"}  # long, and none of it is about the card


def driver(text: str) -> NvidiaDriver:
    """The driver's version and its cards; whatever stands before the XML is left out.

    Raises:
        UnreadableError: This is not the XML of nvidia-smi.
    """
    start, end = text.find("<nvidia_smi_log"), text.rfind("</nvidia_smi_log>")
    if start < 0 or end < start:
        raise UnreadableError(_first_words(text))
    log = text[start : end + len("</nvidia_smi_log>")]
    if "<!" in text[start:end]:
        raise UnreadableError("declarations inside the XML")  # nvidia-smi writes none; entities could blow it up
    try:
        root = ElementTree.fromstring(log)  # noqa: S314  no declarations are left in it
    except ElementTree.ParseError as error:
        raise UnreadableError(f"broken XML: {error}") from None
    return NvidiaDriver(
        version=_value(root, "driver_version"),
        cuda=_value(root, "cuda_version"),
        gpus=tuple(_gpu(gpu) for gpu in root.iterfind("gpu")),
    )


def _first_words(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "it said nothing")
    return line[:200]


def _gpu(gpu: ElementTree.Element) -> GpuReading:
    link = "pci/pci_gpu_link_info"
    memory = whole(_value(gpu, "fb_memory_usage/total") or "")
    places = ("gpu_power_readings/current_power_limit", "gpu_power_readings/power_limit", "power_readings/power_limit")
    power = next((limit for place in places if (limit := _value(gpu, place))), "")
    watts = re.match(r"([0-9]{1,6}(\.[0-9]{1,6})?) W", power)
    return GpuReading(
        slot=slot_of(gpu.get("id", "")),
        name=_value(gpu, "product_name"),
        uuid=_value(gpu, "uuid"),
        serial=_value(gpu, "serial"),
        vbios=_value(gpu, "vbios_version"),
        memory_mib=memory if memory and memory > 0 else None,
        power_limit_w=float(watts[1]) if watts else None,
        persistence=_switch(gpu, "persistence_mode"),
        ecc=_switch(gpu, "ecc_mode/current_ecc"),
        link=PcieLink(
            generation=_count(gpu, f"{link}/pcie_gen/current_link_gen"),
            max_generation=_count(gpu, f"{link}/pcie_gen/max_link_gen"),
            width=_count(gpu, f"{link}/link_widths/current_link_width"),
            max_width=_count(gpu, f"{link}/link_widths/max_link_width"),
        ),
        errors=tuple(_errors(gpu)),
    )


def slot_of(bus_id: str) -> str:
    """`0000:21:00.0` for `00000000:21:00.0`, so that it can be compared with sysfs."""
    domain, colon, rest = bus_id.strip().lower().partition(":")
    return f"{domain[-4:]}{colon}{rest}"


def _value(element: ElementTree.Element, path: str) -> str | None:
    text = (element.findtext(path) or "").strip()
    return None if _ABSENT.fullmatch(text) or _ERROR.fullmatch(text) else text


def _count(element: ElementTree.Element, path: str) -> int | None:
    number = whole(_value(element, path) or "")
    return number if number and number > 0 else None


def _switch(element: ElementTree.Element, path: str) -> bool | None:
    return {"Enabled": True, "Disabled": False}.get(_value(element, path) or "")


def _errors(element: ElementTree.Element) -> list[str]:
    found = []
    for child in element:
        if child.tag in _LEFT_OUT:
            continue
        if _ERROR.fullmatch((child.text or "").strip()):
            found.append(child.tag)
        found += [f"{child.tag}/{inner}" for inner in _errors(child)]
    return found[:20]
