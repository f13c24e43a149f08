"""The pyinfra engine: deploy files run over ssh, with facts asked in batches instead of one by one.

`worker` is the process. A host is one greenlet (`hostrun`) that owns one ssh connection (`session`) and one
memory of what the box answered (`facts`); each deploy file becomes one pyinfra State for that host
(`prepare`), which is then either told (`preview`) or run (`execute`).
"""
