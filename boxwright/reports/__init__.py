"""The certificate of a box: what was promised, found and measured, signed, as pages and for programs.

`measurements` is the one file format that tools which measure write. `certify` is a pure function from what is known of
a box to its `Certificate`; `page`, `pdf` and `junit` are pure functions from that to what people and programs read;
`signing` signs its JSON, and `examination` says whether a certificate is what was signed.
"""
