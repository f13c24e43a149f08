"""The bench board: every machine of a batch on one page, read from the logs of its runs. It changes nothing."""
