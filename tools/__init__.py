"""Programs for those who maintain Boxwright; nothing here is installed with it."""
