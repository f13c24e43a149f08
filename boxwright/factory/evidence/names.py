"""What the files of evidence are called, wherever they lie."""

from __future__ import annotations

BILL = "sbom.cdx.json"  # by CycloneDX's own convention
RECEIPT = "receipt.json"
PROVENANCE = "provenance.intoto.jsonl"  # by in-toto's: a line is an envelope
