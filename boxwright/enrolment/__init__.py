"""Enrolment: the first contact with a site's machines, at which their host keys are pinned."""
