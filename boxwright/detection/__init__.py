"""What a machine is: one probe script over ssh, parsed into a typed `Machine`. Looks and never changes anything."""
