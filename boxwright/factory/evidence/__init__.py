"""Evidence of a box: a bill of materials of what is really on it, and a signed statement of how it was built.

`collect` asks a box by `remote_inventory`, which gives an `Inventory`. `bill_of_materials` makes CycloneDX of that,
`provenance` an in-toto statement with SLSA's predicate, and `envelope` signs it as DSSE. All three are pure. `files`
says what is written where, `examination` whether it is what was signed.
"""
