"""The files of a box's evidence, and what they are called on the box, in a report and beside an image."""

from __future__ import annotations

from boxwright.errors import BoxwrightError
from boxwright.factory.evidence.bill_of_materials import bill_of_materials
from boxwright.factory.evidence.envelope import seal
from boxwright.factory.evidence.inventory import Inventory
from boxwright.factory.evidence.names import BILL, PROVENANCE, RECEIPT
from boxwright.factory.evidence.provenance import statement
from boxwright.model.catalogue import ModelCatalogue
from boxwright.reports.certificate import Receipt
from boxwright.signing import SigningKey


def evidence_files(inventory: Inventory, host: str, catalogue: ModelCatalogue, key: SigningKey) -> dict[str, bytes]:
    """The evidence of a box, by the names of its files. The same box and key give the same bytes.

    Args:
        inventory: What was found on it.
        host: What it is called.
        catalogue: Where its models come from.
        key: Signs the statement.

    Raises:
        BoxwrightError: The box has no receipt: nobody provisioned it to the end, so nothing can be stated of that.
    """
    try:
        receipt = Receipt.model_validate_json(inventory.receipt)
    except ValueError:
        raise BoxwrightError(
            "the box has no receipt that can be read, so nobody knows how it was built",
            where=host,
            hint="Provision it: the last step writes the receipt.",
        ) from None
    bill = bill_of_materials(inventory, receipt, host, catalogue)
    subjects = {BILL: bill, RECEIPT: inventory.receipt.encode()}
    return {**subjects, PROVENANCE: seal(statement(subjects, receipt, bill, twin=inventory.twin), key)}
